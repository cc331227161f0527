package config

import (
	"unicode/utf8"

	"nhip/dicom/association"
)

// What a modality finds in the worklist.
const (
	WorklistOwn = "own" // steps for its AE title, and those for none
	WorklistAll = "all"
)

// What becomes of the films that a modality prints.
const (
	PrintNone = "none" // it cannot print here
	PrintSend = "send" // sent like its images
	PrintHold = "hold" // one that names no patient waits for a person
)

// services checks what a DICOM destination is for.
func (k *checker) services(key, where string, d Destination) {
	switch {
	case !d.Images && !d.MPPS && !d.IAN:
		k.wrong(key+".images", where, "images, mpps and ian are all false: nothing would be sent to it")
	case d.Commitment && !d.Images:
		k.wrong(key+".commitment", where, "commitment: it gets no images that it could commit itself to")
	}
}

// identity checks the user identity that a modality has to give.
func (k *checker) identity(key, where string, m Modality) {
	if m.PasswordFile != "" {
		k.secretFile(key+".password_file", where, "password_file", m.PasswordFile)
	}
	switch {
	case m.User == "" && m.PasswordFile != "":
		k.wrong(key+".password_file", where, "password_file needs user: the name that goes with the password")
	case !plain(m.User) || utf8.RuneCountInString(m.User) > 64:
		k.wrong(key+".user", where, "user has control characters, or over 64 characters")
	case m.User != "" && m.PasswordFile == "":
		k.note(key+".user", where, "user without password_file: who knows the name is believed")
	}
}

// Password is what the modality has to give with its user, the first line of the
// password file; "" where it has to give none.
func (m Modality) Password() (string, error) {
	if m.PasswordFile == "" {
		return "", nil
	}
	return firstLine(m.PasswordFile)
}

// ReportsTLS is how reports of storage commitment to a modality that has a certificate
// are secured.
func (c *Config) ReportsTLS(m Modality) association.TLS {
	return association.TLS{Certificate: c.DICOM.TLSCertificate, Key: c.DICOM.TLSKey, CA: c.DICOM.TLSCA, ServerName: m.Certificate}
}
