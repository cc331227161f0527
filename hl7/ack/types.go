package ack

import (
	"strings"

	"nhip/hl7"
)

// answers are the messages that answer others, by MSH-9.1 and MSH-9.2 of the request:
// HL7 v2.5.1 chapters 3 to 15, v2.6 to v2.8 for what came later. A type that is not
// here is answered with ACK.
var answers = map[string]string{
	// Orders, chapter 4.
	"ORM^O01": "ORR^O02", "OSQ^Q06": "OSR^Q06",
	"OML^O21": "ORL^O22", "OML^O33": "ORL^O34", "OML^O35": "ORL^O36", "OML^O39": "ORL^O40",
	"OMG^O19": "ORG^O20", "OMI^O23": "ORI^O24",
	"OMD^O03": "ORD^O04", "OMS^O05": "ORS^O06", "OMN^O07": "ORN^O08",
	"OMP^O09": "ORP^O10", "RDE^O11": "RRE^O12", "RDS^O13": "RRD^O14", "RGV^O15": "RRG^O16",
	"RAS^O17": "RRA^O18", "RDE^O25": "RRE^O26",
	"OMB^O27": "ORB^O28", "BPS^O29": "BRP^O30", "BTS^O31": "BRT^O32", "OPL^O37": "OPR^O38",
	// The same before 2.4, when every order was O01.
	"OMD^O01": "ORD^O02", "OMS^O01": "ORS^O02", "OMN^O01": "ORN^O02", "RDE^O01": "RRE^O02",
	"RDS^O01": "RRD^O02", "RGV^O01": "RRG^O02", "RAS^O01": "RRA^O02",
	// Results, chapter 7: the point of care answers have an event of their own.
	"ORU^R30": "ACK^R33^ACK", "ORU^R31": "ACK^R33^ACK", "ORU^R32": "ACK^R33^ACK",
	// Queries, chapters 3, 5 and 7.
	"QBP^Q11": "RSP^K11", "QBP^Q13": "RTB^K13", "QBP^Q15": "RDY^K15",
	"QBP^Q21": "RSP^K21", "QBP^Q22": "RSP^K22", "QBP^Q23": "RSP^K23", "QBP^Q24": "RSP^K24",
	"QBP^Q25": "RSP^K25", "QBP^Q31": "RSP^K31", "QBP^Q32": "RSP^K32",
	"QRY^A19": "ADR^A19", "QRY^Q01": "DSR^Q01", "QRY^Q02": "QCK^Q02", "QRY^R02": "ORF^R04", "QRY^T12": "DOC^T12",
	"VQQ^Q07": "TBR^R08", "SQM^S25": "SQR^S25", "VXQ^V01": "VXR^V03",
	"MFQ^M01": "MFR^M01", "NMQ^N01": "NMR^N01",
	// Scheduling, referral and insurance, chapters 10 and 11.
	"REF^I12": "RRI^I12", "REF^I13": "RRI^I13", "REF^I14": "RRI^I14", "REF^I15": "RRI^I15",
	"RQI^I01": "RPI^I01", "RQI^I02": "RPL^I02", "RQI^I03": "RPR^I03", "RQA^I08": "RPA^I08",
	"RQC^I05": "RCI^I05", "RQC^I06": "RCL^I06", "RQP^I04": "RPI^I04",
	// Laboratory automation, chapter 13.
	"EAC^U07": "EAR^U08",
}

// families answer every event of a message code with the same event of another.
var families = map[string]string{"MFN": "MFK", "SRM": "SRR"}

// structures are the message structures whose name is not code and event, table 0354
// and IHE ITI-21.
var structures = map[string]string{
	"RSP^K22": "RSP_K21", "RSP^K24": "RSP_K23",
	"RRI^I13": "RRI_I12", "RRI^I14": "RRI_I12", "RRI^I15": "RRI_I12",
}

// AnswerType is MSH-9 of the application acknowledgement that a message calls for,
// with ^ between its components: "ORL^O22^ORL_O22". It is empty where that is the
// general acknowledgement, which hl7.Ack builds for each version; the structure is
// there from 2.3.1 on, the event from 2.2.
func AnswerType(m *hl7.Message) string {
	code, event, _ := m.Type()
	answer, ok := answers[code+"^"+event]
	if !ok {
		family, ok := families[code]
		if !ok || event == "" {
			return ""
		}
		answer = family + "^" + event
	}
	if code == "ORU" && !m.AtLeast(2, 5) {
		return "" // R33 is of 2.5
	}
	kind, rest, _ := strings.Cut(answer, "^")
	answerEvent, structure, _ := strings.Cut(rest, "^")
	switch {
	case !m.AtLeast(2, 2):
		return kind
	case m.Version() == "2.2", m.Version() == "2.3":
		return kind + "^" + answerEvent
	}
	if structure == "" {
		structure = structureOf(kind, answerEvent)
	}
	return kind + "^" + answerEvent + "^" + structure
}

// structureOf is the structure of an answer, table 0354.
func structureOf(code, event string) string {
	if s, ok := structures[code+"^"+event]; ok {
		return s
	}
	switch code {
	case "MFK":
		return "MFK_M01"
	case "SRR":
		return "SRR_S01"
	}
	return code + "_" + event
}
