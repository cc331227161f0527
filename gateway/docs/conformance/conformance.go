// Package conformance writes the DICOM conformance statement of the gateway, PS3.2
// annex N: its words are a template, and its tables are what the program does.
package conformance

import (
	"bytes"
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/charset"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/film"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/ian"
	"nhip/dicom/move"
	"nhip/dicom/mpps"
	"nhip/dicom/pixel"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
	"nhip/dicom/worklist"
	"nhip/gateway/config"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/modality"
)

//go:embed statement.md.tmpl
var statement string

// Generate returns the statement, as Markdown.
func Generate() ([]byte, error) {
	t, err := template.New("statement").Funcs(template.FuncMap{
		"uid":                named,
		"services":           services,
		"contexts":           contexts,
		"storageClasses":     storageClasses,
		"transferSyntaxes":   transferSyntaxes,
		"worklistKeys":       worklistKeys,
		"stepAttributes":     stepAttributes,
		"characterSets":      characterSets,
		"storeAnswers":       storeAnswers,
		"rejections":         rejections,
		"duration":           duration,
		"default":            byDefault,
		"defaultModality":    func(key string) (string, error) { return tagged(reflect.TypeFor[config.Modality](), key) },
		"defaultDestination": func(key string) (string, error) { return tagged(reflect.TypeFor[config.Destination](), key) },
	}).Parse(statement)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"ClassUID": association.ImplementationClassUID, "Version": association.ImplementationVersionName,
		"MaxPDU": association.DefaultMaxPDU, "Timeouts": association.DefaultTimeouts(), "Contexts": ul.MaxPresentationContexts,
		"Find": find.DefaultLimits(), "Answers": worklist.DefaultAnswers, "Files": modality.MostWorklistFiles, "FileBytes": modality.MostWorklistBytes,
		"StepBytes": mpps.DefaultMaxBytes, "StepParts": intake.MostStepParts,
		"References": commitment.DefaultMaxRefs, "Reports": commitment.DefaultPolicy(), "Asking": commitment.DefaultAskPolicy(),
		"Objects": modality.MostObjects, "Sheet": modality.MostSheet >> 20,
		"StorageClasses": len(uid.StorageClasses()), "TransferSyntaxes": len(uid.TransferSyntaxes()),
	})
	return b.Bytes(), err
}

// Services are those of the application entity, with nothing behind them: which
// abstract and transfer syntaxes it accepts of a modality with accept = "all".
func Services() service.Mux {
	return service.Mux{
		{AbstractSyntax: echo.Accepts},
		{AbstractSyntax: store.Accepts(), TransferSyntax: store.AcceptsTransferSyntax()},
		(&mpps.SCP{}).Service(),
		(&commitment.SCP{}).Service(),
		worklist.SCP(worklist.List{}, worklist.Options{}),
	}
}

// Query are the services of modalities with `query`.
func Query() service.Mux {
	roots := []find.Root{find.PatientRoot, find.StudyRoot}
	return service.Mux{(&find.SCP{}).Service(roots...), (&move.SCP{}).Service(roots...), (&get.SCP{}).Service(roots...)}
}

// Print is the service of modalities with `print`.
func Print() service.Mux { return service.Mux{(&film.SCP{}).Service()} }

// Everything are the services of a modality for which all of it is configured.
func Everything() service.Mux { return slices.Concat(Services(), Query(), Print()) }

// named is a UID with its name, as two cells of a table.
func named(u string) string {
	e, _ := uid.Lookup(u)
	name := uid.Name(u)
	if e.Retired {
		name += " (retired)"
	}
	return name + " | " + u
}

// rows joins the lines of a table.
func rows(list []string) string { return strings.Join(list, "\n") }

// services are the SOP classes that are no storage classes, and who may be what.
func services() string {
	m := Everything()
	var list []string
	for _, class := range uid.SOPClasses() {
		if !m.AbstractSyntax(class) || uid.IsStorageClass(class) {
			continue
		}
		scu, note := "no", where(class)
		switch class {
		case mpps.Class:
			scu, note = "yes", "SCU to destinations with `mpps = true`"
		case commitment.Class:
			scu, note = "yes", "SCU to destinations with `commitment = true`"
		case uid.Verification:
			scu, note = "yes", "SCU where `accept = \"destinations\"` asks what destinations take"
		}
		list = append(list, fmt.Sprintf("| %s | %s | yes | %s |", named(class), scu, note))
	}
	return rows(append(list, "| "+named(ian.Class)+" | yes | no | to destinations with `ian = true` |"))
}

// where says on which key of the configuration it depends that a class is served.
func where(class string) string {
	root, query := find.RootOf(class)
	prints := (&film.SCP{}).Service().AbstractSyntax(class)
	switch {
	case class == worklist.Class:
		return "steps of the orders of systems, and of the folder `[dicom] worklist`"
	case query && root != 0:
		return "modalities with `query = true`"
	case prints:
		return "modalities with `print`"
	}
	return ""
}

// contexts are the presentation contexts that are accepted, by groups of classes.
func contexts() string {
	m := Everything()
	var list []string
	for _, class := range uid.SOPClasses() {
		if !m.AbstractSyntax(class) || uid.IsStorageClass(class) {
			continue
		}
		var syntaxes []string
		for _, ts := range uid.TransferSyntaxes() {
			if m.TransferSyntax(class, ts) {
				syntaxes = append(syntaxes, uid.Name(ts))
			}
		}
		list = append(list, fmt.Sprintf("| %s | %s | SCU |", named(class), strings.Join(syntaxes, ", ")))
	}
	return rows(append(list, "| every storage SOP class of the table below | | every transfer syntax of the table below | SCU |"))
}

func storageClasses() string {
	m := Services()
	var list []string
	for _, class := range uid.StorageClasses() {
		if m.AbstractSyntax(class) {
			list = append(list, "| "+named(class)+" |")
		}
	}
	return rows(list)
}

// program are the transfer syntaxes that the program of OpenJPEG or OpenJPH decodes,
// which is not on every machine.
var program = []string{uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}

func transferSyntaxes() string {
	m := Services()
	var list []string
	for _, ts := range uid.TransferSyntaxes() {
		takes := "no"
		if m.TransferSyntax(uid.CTImageStorage, ts) {
			takes = "yes"
		}
		decodes := "no"
		switch {
		case slices.Contains(program, ts):
			decodes = "with a helper program"
		case pixel.Decodes(ts):
			decodes = "yes"
		}
		encodes := "no"
		if pixel.Encodes(ts) {
			encodes = "yes"
		}
		list = append(list, fmt.Sprintf("| %s | %s | %s | %s |", named(ts), takes, decodes, encodes))
	}
	return rows(list)
}

// attribute is a tag with its keyword and VR, as cells of a table.
func attribute(t tag.Tag) string {
	e, _ := tag.Lookup(t)
	return fmt.Sprintf("%s | %v | %s", e.Name, t, e.VR)
}

func worklistKeys() string {
	request, step := worklist.Keys()
	var list []string
	for _, t := range request {
		list = append(list, "| "+attribute(t)+" |")
	}
	for _, t := range step {
		list = append(list, "| > "+attribute(t)+" |")
	}
	return rows(list)
}

func stepAttributes() string {
	refused, warned, unchanged := mpps.Attributes()
	var all []tag.Tag
	for _, t := range slices.Concat(refused, warned, unchanged) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	var list []string
	for _, t := range all {
		create, set := "kept", "replaces"
		switch {
		case slices.Contains(refused, t):
			create = "missing: 0120; empty: 0121"
		case slices.Contains(warned, t):
			create = "missing: warning 0107"
		case t == tag.ScheduledStepAttributesSequence:
			create = "missing: 0120; no item: 0121; an item without a valid Study Instance UID: 0106"
		}
		if slices.Contains(unchanged, t) {
			set = "changed: 0106"
		}
		list = append(list, fmt.Sprintf("| %s | %s | %s |", attribute(t), create, set))
	}
	return rows(list)
}

// definedTerms are those of PS3.3 section C.12.1.1.2.
var definedTerms = []string{
	"ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138", "ISO_IR 148",
	"ISO_IR 203", "ISO_IR 13", "ISO_IR 166", "ISO_IR 192", "GB18030", "GBK",
	"ISO 2022 IR 6", "ISO 2022 IR 100", "ISO 2022 IR 101", "ISO 2022 IR 109", "ISO 2022 IR 110", "ISO 2022 IR 144", "ISO 2022 IR 127",
	"ISO 2022 IR 126", "ISO 2022 IR 138", "ISO 2022 IR 148", "ISO 2022 IR 203", "ISO 2022 IR 13", "ISO 2022 IR 166", "ISO 2022 IR 87",
	"ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58",
}

func characterSets() string {
	var known []string
	for _, term := range definedTerms {
		if _, err := charset.New(term); err == nil {
			known = append(known, term)
		}
	}
	return strings.Join(known, ", ")
}

// storeAnswers are what becomes of an object by the status that a destination
// answers.
func storeAnswers() string {
	becomes := map[delivery.Kind]string{
		delivery.Accepted: "delivered", delivery.Rejected: "sent again later", delivery.Refused: "held, with the status and its comment",
	}
	var list []string
	for _, s := range []struct {
		code  uint16
		shown string
	}{
		{dimse.Success, ""}, {dimse.CoercionOfDataElements, ""}, {dimse.ElementsDiscarded, ""}, {dimse.DataSetDoesNotMatchWarned, ""},
		{dimse.AttributeListError, ""}, {dimse.AttributeValueOutOfRange, ""},
		{dimse.OutOfResources, "A7xx"}, {dimse.ResourceLimitation, ""}, {dimse.DataSetDoesNotMatchClass, "A9xx"}, {dimse.CannotUnderstand, "Cxxx"},
		{dimse.ProcessingFailure, ""}, {dimse.DuplicateSOPInstance, ""}, {dimse.InvalidSOPInstance, ""}, {dimse.SOPClassNotSupported, ""},
		{dimse.NotAuthorized, ""}, {dimse.UnrecognizedOperation, ""},
	} {
		status := dimse.Status{Code: s.code}
		code, words, _ := strings.Cut(status.String(), "H ")
		if s.shown != "" {
			code = s.shown
		}
		list = append(list, fmt.Sprintf("| %s | %s | %s |", code, words, becomes[modality.Settle(status).Kind]))
	}
	return rows(append(list, "| any other | | "+becomes[modality.Settle(dimse.Status{Code: 0x0FFF}).Kind]+" |"))
}

func rejections() string {
	var list []string
	for _, r := range []struct {
		rj   ul.AssociateRJ
		when string
	}{
		{ul.RejectCalledAETitle, "the called AE title is not `[dicom] ae_title`"},
		{ul.RejectCallingAETitle, "no `[[modality]]` has this calling AE title at this address; or the certificate that it has to show is another"},
		{ul.RejectUserIdentity, "the modality has a `user`, and gives no user identity, one of another type, or not this user and password"},
		{ul.RejectApplicationContext, "another application context than DICOM's"},
		{ul.RejectProtocolVersion, "another protocol version"},
		{ul.RejectTemporaryCongestion, "more than `max_associations`, or than `max_per_modality` of its address or of its AE title"},
	} {
		list = append(list, fmt.Sprintf("| %d/%d/%d | %s |", r.rj.Result, r.rj.Source, r.rj.Reason, r.when))
	}
	return rows(list)
}

// duration is a time in words.
func duration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := d / u.unit; n > 0 && d%u.unit == 0 {
			if n > 1 {
				return fmt.Sprintf("%d %ss", n, u.name)
			}
			return fmt.Sprintf("%d %s", n, u.name)
		}
	}
	return d.String()
}

// byDefault is the default of a key of [dicom].
func byDefault(key string) (string, error) { return tagged(reflect.TypeFor[config.DICOM](), key) }

func tagged(t reflect.Type, key string) (string, error) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("toml") == key {
			return f.Tag.Get("default"), nil
		}
	}
	return "", fmt.Errorf("conformance: no key %q", key)
}
