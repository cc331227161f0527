package table

import (
	"bytes"
	"fmt"
	"strings"

	"nhip/drivers/profile"
)

// Installed is the section of drivers/profiles/README.md that Coverage writes.
const Installed = "## Analysers installed in Việt Nam\n"

// An installation is one row of the list of analysers that stand in the laboratories of
// Việt Nam (reference/lab-devices.md, section 4), and what of it has no profile, and why.
type installation struct {
	analysers string
	profiles  string // identifiers, by blanks
	lacks     string
}

var installed = []installation{
	{"Sysmex XN-L, XN-1000", "sysmex-xn-l", "XN-1000 by its own D1U/D2U protocol: no source that can be used"},
	{"Sysmex XS-500i, 800i, 1000i, XT-1800i, 2000i, 4000i", "sysmex-xs-1000i sysmex-xt-2000i-csv", "the query of the XS and XT: no source shows it"},
	{"Sysmex KX-21, XP-100, XP-300, pocH-100i", "sysmex-kx-21n sysmex-poch-100i sysmex-xp", ""},
	{"Sysmex CA-500, CA-600, CA-1500, CS", "sysmex-ca-1500 sysmex-cs-2500", "the old CA-500 protocol; the answer to the query of the CS: not seen"},
	{"Mindray BC-3000, 5000, 5150, 5380, 6000", "mindray-bc-5150 mindray-bc-5380", "BC-3000 has a protocol of its own on the serial line; the query ORM^O01 of the BC-5150 is read and not answered"},
	{"Mindray BS-200, 380, 400, 800", "mindray-bs mindray-bs-astm", ""},
	{"Mindray CL-900i, 1000i, 2000i", "mindray-cl-900i", "its query: the BS analysers have QRY^Q02, of this one none was seen"},
	{"Roche cobas e 411, Elecsys 2010", "roche-cobas-e411", ""},
	{"Roche cobas c 311, 6000, 8000; Hitachi 7600", "roche-cobas-c311 roche-cobas-6000 hitachi-7600", ""},
	{"Roche cobas pure, pro", "roche-cobas-pure", "its query by sequence number is acknowledged and brings no order: the number is no identifier"},
	{"Roche cobas c 111", "roche-cobas-c111", "its CSV files"},
	{"Roche cobas b 121, b 221; Urisys 1100, cobas u 411", "roche-cobas-b121 roche-urisys-1100 roche-cobas-u411", "cobas b 221: no message was at hand"},
	{"Abbott ARCHITECT i1000, i2000, ci4100", "abbott-architect", ""},
	{"Abbott Alinity ci, Alinity m", "abbott-alinity-ci-astm abbott-alinity-m", "Alinity h and s: no source"},
	{"Abbott CELL-DYN Ruby, Emerald; 1700, 3200, 3700", "abbott-cell-dyn-ruby abbott-emerald-22", "CELL-DYN 1700, 3200, 3700: drivers are known whose fields are numbered and not explained; no message was at hand"},
	{"Beckman Coulter AU480, AU680, AU5800", "beckman-au beckman-au480", "columns of control results in online texts: no source"},
	{"Beckman Coulter Access 2, DxI 600, 800", "beckman-access", ""},
	{"Beckman Coulter DxH 500, 600, 800; LH 750, 780", "beckman-dxh", "LH 750, 780: printer text by blocks, known from a driver alone; not written"},
	{"Siemens ADVIA Centaur; ADVIA 1650, 1800, 2120", "siemens-advia-centaur", "ADVIA 1650, 1800 and 2120 have a protocol of their own with tokens, which Nhịp does not speak"},
	{"Siemens Atellica", "", "only invented messages and one order layout are public; no result of an analyser"},
	{"Siemens Immulite 2000, 2000 XPi", "siemens-immulite-2000", ""},
	{"Siemens Clinitek Status, DCA Vantage, Rapidlab", "siemens-clinitek-status siemens-dca-vantage siemens-rapidlab-348", "RAPIDPoint 500 has a protocol of its own, which Nhịp does not speak"},
	{"Ortho Vitros 250, 350, 3600, 5600, ECi", "ortho-vitros ortho-vitros-eci", "the query of the ECi: only an answer was seen"},
	{"Horiba Micros 60, Pentra, Yumizen H500", "horiba-micros-60 horiba-pentra-xlr horiba-pentra-400 horiba-yumizen-h500", "the query of the Yumizen H500: no source shows it"},
	{"Erba XL, EM, Mannheim; Humalyzer, HumaStar; Dymind", "erba-xl dymind-df5x", "Humalyzer, HumaStar: file or ASTM-like batch, known from the tests of a driver alone; not written"},
	{"Snibe Maglumi 600, 800, X3", "snibe-maglumi", ""},
	{"bioMérieux VIDAS, VITEK 2", "biomerieux-mini-vidas biomerieux-vitek-2", "orders to a VITEK 2 (mtmpr): results are received alone"},
	{"BD BACTEC, Phoenix (EpiCenter)", "", "no message and no driver was found"},
	{"Stago STA Compact, Satellite, STA-R", "stago-sta-compact", "STA-R names itself otherwise and was not at hand; the protocol of the Compact X is its own"},
	{"Urine: DIRUI H-500, H-800, URIT, LabUMat, Combilyzer, ComboStik", "roche-urisys-1100 roche-cobas-u411 sysmex-uc-1000 sysmex-u-wam", "DIRUI, ComboStik: known from drivers alone, not written; LabUMat, URIT, Combilyzer: nothing that can be used"},
	{"Blood gas: Radiometer ABL; IL GEM 3000, 3500", "radiometer-abl-735 werfen-gem-3500", "ABL90 and GEM 3000, 4000: no message was at hand"},
	{"HbA1c: Tosoh G8, G11; Bio-Rad D-10; Premier Hb9210; Adams", "arkray-adams-a1c biorad-d-10 trinity-premier-hb9210", "Tosoh G8, G11: no source"},
	{"Electrolytes: AVL 9180, ISE 3000, ILyte, Rapidlab", "ise-3000 siemens-rapidlab-348", "AVL 9180, ILyte: known from drivers alone, not written"},
	{"Nihon Kohden Celltac; Swelab, Medonic; Mythic; Rayto", "orphee-mythic-22", "Celltac: known from a driver alone, not written; Swelab and Medonic send XML, which Nhịp does not read from a line; Rayto: no source"},
	{"Cepheid GeneXpert; Roche cobas 4800, 5800, 6800, TaqMan; Abbott m2000", "cepheid-genexpert roche-cobas-4800 roche-cobas-5800 roche-cobas-6800 abbott-m2000", "COBAS TaqMan: only fragments of messages"},
}

// Coverage is doc with its section Installed written anew.
func Coverage(doc []byte, all map[string]*profile.Profile) ([]byte, error) {
	before, after, ok := bytes.Cut(doc, []byte(Installed))
	if !ok {
		return nil, fmt.Errorf("table: no heading %q", Installed)
	}
	end := bytes.Index(after, []byte("\n## "))
	if end < 0 {
		return nil, fmt.Errorf("table: nothing follows %q", Installed)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(Installed)
	b.WriteString("\nBy the numbers of `reference/lab-devices.md`, section 4. *Orders* is what a gateway does with the profile today: ")
	b.WriteString("*answers* queries, *sends* orders that were not asked for, *takes back* orders; *query not answered* where the sources describe a query and do not show its answer.\n\n")
	b.WriteString("| row | analysers | profile | orders | evidence | not, and why |\n|---|---|---|---|---|---|\n")
	for n, row := range installed {
		names := strings.Fields(row.profiles)
		if len(names) == 0 {
			fmt.Fprintf(&b, "| %d | %s | **none** | | | %s |\n", n+1, row.analysers, row.lacks)
			continue
		}
		for i, id := range names {
			p := all[id]
			if p == nil {
				return nil, fmt.Errorf("table: row %d: no profile %q", n+1, id)
			}
			if i == 0 {
				fmt.Fprintf(&b, "| %d | %s | `%s` | %s | %s | %s |\n", n+1, row.analysers, id, orders(p), p.Evidence(), row.lacks)
			} else {
				fmt.Fprintf(&b, "| | | `%s` | %s | %s | |\n", id, orders(p), p.Evidence())
			}
		}
	}
	b.Write(after[end:])
	return b.Bytes(), nil
}

// orders is what is done with the orders of a model.
func orders(p *profile.Profile) string {
	var does []string
	if answers(p) {
		does = append(does, "answers")
	} else if p.TwoWay() == "query" || p.TwoWay() == "both" {
		does = append(does, "query not answered")
	}
	if p.Downloads() {
		does = append(does, "sends")
	}
	if p.Cancels() {
		does = append(does, "takes back")
	}
	if len(does) == 0 {
		return p.TwoWay()
	}
	return strings.Join(does, ", ")
}

func answers(p *profile.Profile) bool {
	switch p.Protocol() {
	case profile.ASTM:
		return p.Asks() && p.Answers()
	case profile.HL7, profile.LAW:
		form := p.HL7Dialect().Form
		return form == "dsr" || form == "law"
	case profile.AU:
		return p.TwoWay() == "query"
	}
	return false
}
