package monitor

import (
	"strconv"
	"strings"
)

// Codes that the oximeters use.
const (
	codeSaturation = 150456
	codePulse      = 149530
	codePerfusion  = 150488
)

// terms are the quantities that a ward monitor measures, ISO/IEEE 11073-10101
// partition 2. What is not here keeps the number and name that the device sends.
var terms = map[int]string{
	147842: "MDC_ECG_HEART_RATE",
	148066: "MDC_ECG_V_P_C_RATE",
	149530: "MDC_PULS_OXIM_PULS_RATE",
	149546: "MDC_PULS_RATE_NON_INV",
	150017: "MDC_PRESS_BLD_SYS",
	150018: "MDC_PRESS_BLD_DIA",
	150019: "MDC_PRESS_BLD_MEAN",
	150021: "MDC_PRESS_BLD_NONINV_SYS",
	150022: "MDC_PRESS_BLD_NONINV_DIA",
	150023: "MDC_PRESS_BLD_NONINV_MEAN",
	150033: "MDC_PRESS_BLD_ART_SYS",
	150034: "MDC_PRESS_BLD_ART_DIA",
	150035: "MDC_PRESS_BLD_ART_MEAN",
	150037: "MDC_PRESS_BLD_ART_ABP_SYS",
	150038: "MDC_PRESS_BLD_ART_ABP_DIA",
	150039: "MDC_PRESS_BLD_ART_ABP_MEAN",
	150087: "MDC_PRESS_BLD_VEN_CENT_MEAN",
	150301: "MDC_PRESS_CUFF_SYS",
	150302: "MDC_PRESS_CUFF_DIA",
	150303: "MDC_PRESS_CUFF_MEAN",
	150344: "MDC_TEMP",
	150364: "MDC_TEMP_BODY",
	150456: "MDC_PULS_OXIM_SAT_O2",
	150488: "MDC_BLD_PERF_INDEX",
	151562: "MDC_RESP_RATE",
	151578: "MDC_TTHOR_RESP_RATE",
	151594: "MDC_CO2_RESP_RATE",
	151658: "MDC_PULS_OXIM_PLETH_RESP_RATE",
	188424: "MDC_TEMP_ORAL",
	188496: "MDC_TEMP_AXIL",
}

// synonyms are other reference identifiers of the same term.
var synonyms = map[string]string{"MDC_ECG_CARD_BEAT_RATE": "MDC_ECG_HEART_RATE"}

// units are UCUM by code, ISO/IEEE 11073-10101 partition 4.
var units = map[int]struct{ mdc, ucum string }{
	262656: {"MDC_DIM_DIMLESS", "1"},
	262688: {"MDC_DIM_PERCENT", "%"},
	263441: {"MDC_DIM_CENTI_M", "cm"},
	263762: {"MDC_DIM_MILLI_L", "mL"},
	263875: {"MDC_DIM_KILO_G", "kg"},
	264864: {"MDC_DIM_BEAT_PER_MIN", "/min"},
	264928: {"MDC_DIM_RESP_PER_MIN", "/min"},
	265987: {"MDC_DIM_KILO_PASCAL", "kPa"},
	266016: {"MDC_DIM_MMHG", "mm[Hg]"},
	266418: {"MDC_DIM_MILLI_VOLT", "mV"},
	266560: {"MDC_DIM_FAHR", "[degF]"},
	268192: {"MDC_DIM_DEGC", "Cel"},
}

// unitTexts are units that devices without a coding system write.
var unitTexts = map[string]string{
	"%": "%", "bpm": "/min", "BPM": "/min", "rpm": "/min", "/min": "/min",
	"mmHg": "mm[Hg]", "°C": "Cel", "℃": "Cel", "degC": "Cel",
}

// codeByName and unitByName turn the tables round.
var (
	codeByName = func() map[string]int {
		m := map[string]int{}
		for code, name := range terms {
			m[name] = code
		}
		for other, name := range synonyms {
			m[other] = m[name]
		}
		return m
	}()
	unitByName = func() map[string]string {
		m := map[string]string{}
		for _, u := range units {
			m[u.mdc] = u.ucum
		}
		return m
	}()
)

// partition is the upper half of a code; from privatePartition on a number means
// nothing outside the device.
func partition(code int) int { return code >> 16 }

const (
	partitionObject  = 1 // object infrastructure, devices
	partitionEvent   = 3
	partitionDevice  = 8 // device specialisations
	privatePartition = 1024
)

// number reads a code as it is written by system: decimal, or the two halves in
// hexadecimal (Philips). Not a number of the nomenclature: 0.
func number(id, system string) int {
	switch {
	case system == "MDIL":
		high, low, ok := strings.Cut(id, "-")
		p, err1 := strconv.ParseUint(high, 16, 16)
		t, err2 := strconv.ParseUint(low, 16, 16)
		if !ok || err1 != nil || err2 != nil || p >= privatePartition {
			return 0
		}
		return int(p)<<16 | int(t)
	case system == "MDC" || system == "":
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil || n < 1<<16 || partition(int(n)) >= privatePartition {
			return 0
		}
		return int(n)
	}
	return 0
}

// A coded is a coded element: identifier, text, coding system.
type coded struct{ id, text, system string }

// term is the quantity of an OBX-3: its code, or 0, and its name. A problem says
// why the number was not used.
func (c coded) term() (code int, name, problem string) {
	if c.system == "" && !strings.HasPrefix(c.text, "MDC_") {
		return 0, c.name(), ""
	}
	code = number(c.id, c.system)
	known, isKnown := terms[code]
	switch {
	case code == 0:
		return 0, c.name(), ""
	case c.system == "MDIL" && isKnown:
		return code, known, ""
	case c.text == "" && isKnown:
		return code, known, ""
	case isKnown && codeByName[c.text] != code, !isKnown && codeByName[c.text] != 0:
		return 0, c.name(), "the number of OBX-3 is not that of its name"
	case isKnown:
		return code, known, ""
	}
	return code, c.name(), ""
}

// name is what the device calls it.
func (c coded) name() string {
	if c.text != "" {
		return c.text
	}
	return c.id
}

// unit is the UCUM unit of an OBX-6; empty: not known.
func (c coded) unit() string {
	switch c.system {
	case "UCUM":
		return c.id
	case "MDC", "MDIL":
		u, ok := units[number(c.id, c.system)]
		if ok && c.system == "MDC" && c.text != "" && c.text != u.mdc {
			return "" // the number is not that of the name
		}
		return u.ucum
	case "":
		if u, ok := unitByName[c.id]; ok {
			return u
		}
		return unitTexts[c.id]
	}
	return ""
}
