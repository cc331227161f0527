package config

import (
	"net/url"
	"slices"
	"strings"

	"nhip/hl7/vncharset"
)

// names checks the set of characters of an analyser's names.
func (k *checker) names(key, where, protocol string, a Analyser) {
	if a.Names == "" {
		return
	}
	key += ".names"
	n, err := vncharset.ParseNames(a.Names)
	u, _ := url.Parse(a.Port)
	switch {
	case err != nil:
		k.wrong(key, where, "names: %q is none of %s", a.Names, strings.Join(vncharset.NamesWords, ", "))
	case n.Controls() && (protocol != "" && protocol != "hl7" && protocol != "file" || a.Names == vncharset.NamesVPS && protocol == "hl7"):
		k.wrong(key, where, `names: letters of %q are control characters (STX, EOT, ENQ, XON …), which would break the messages on this line; use "tcvn3", "vni", "cp1258" or "utf-8"`, a.Names)
	case protocol == "law" && !slices.Contains([]string{vncharset.NamesASCII, vncharset.NamesUTF8}, a.Names):
		k.wrong(key, where, `names: this profile speaks IHE LAW, which is UTF-8: use "ascii" or "utf-8"`)
	case protocol == "poct1a" && a.Names != vncharset.NamesASCII:
		k.wrong(key, where, "names has no meaning for POCT1-A: its messages say themselves what they are in")
	case a.Names != vncharset.NamesASCII && u != nil && u.Scheme == "serial" && slices.Contains([]string{"5", "6", "7"}, u.Query().Get("data")):
		k.wrong(key, where, `names: %q needs 8 data bits, and the port has data=%s; use "ascii"`, a.Names, u.Query().Get("data"))
	}
}
