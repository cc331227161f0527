// Package monitor reads what bedside monitors and pulse oximeters say into
// observations: HL7 version 2 ORU^R01 as in IHE PCD-01 with the dialects of the
// vendors (ORU), and ASCII lines on a serial port (Lines, Serve). It judges no
// value and converts no unit: a value is the text that the device sent, a unit
// is named in UCUM where the table says which one it is.
//
// # HL7
//
// Identifiers are ISO/IEEE 11073-10101: partition*65536 + term code, whether
// they are written 150456^MDC_PULS_OXIM_SAT_O2^MDC or 0002-4bb8^SpO2^MDIL. A
// number whose name is another's is not used: the observation is kept under the
// name that the device sent, with code 0. OBX-1 is not looked at. A reading that
// is no reading (a sentinel such as 8388607, --- or nothing, OBX-8, OBX-11 X) is
// an observation without a value that says why. What is no numeric reading
// (waveforms, alerts, attributes of devices, text) is counted, not returned.
//
// The dialects are those of public sample messages: Mindray (eGateway, VS),
// Comen, Edan, Philips MDIL, GE B1x5. Not verified: the names of OBX-8 for the
// measurement status (IHE PCD TF-2) but for DEMO, which Mindray sends.
//
// # Serial oximeters
//
// None of the three protocols has a checksum: a line is taken when the whole of
// it has the form, and never in part.
//
// masimo-ascii1: Masimo Radical-7, output "ASCII 1", 9600 8N1. Source: the field
// list and pattern of the open source driver of OpenICE (masimo-radical-7.spec);
// baud rate and default from the Rad-87 operator's manual, chapter 7. 000 for no
// value is from the sample in the Rad-8 operator's manual (trend data format).
// Not verified: the meaning of ALARM and EXC on this model, which is left alone,
// and the codes of SpCO, SpMet, PVI, which are published under the device's names.
//
// nellcor-n595: Nellcor N-595 (N-395, NPB-290, NPB-295 print alike), 9600 8N1.
// Source: operator's manuals of NPB-290, NPB-295 and N-395, "Data Port Protocol";
// status codes and pattern of OpenICE (nellcor-n595.spec). Not verified: that a
// number beside PS (pulse search) or MO (interference) is doubtful, which is our
// caution.
//
// nonin-ascii: Nonin Avant 4000/4100/9600, 8500, 2500, 9847, 9600 baud. Source:
// their operator's manuals, "Real-Time Patient Data Output" and "Serial Output":
// SPO2=XXX HR=YYY, a time HH:MM:SS before it on some models, F for fast, * for an
// event and B for a breath after it, --- for no data. Not verified: the header
// line at power up, which is passed over.
package monitor
