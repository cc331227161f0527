package config

// How an analyser gets its orders.
const (
	SendQuery    = "query"    // what it asks for
	SendDownload = "download" // every order when it comes; its queries are not answered
	SendBoth     = "both"
)

// What makes a service one analyser's, where several could do it.
const (
	DoneByResult = "result" // its result
	DoneByQuery  = "query"  // that it has asked for it
)

// Queries reports whether the analyser's queries are answered.
func (a Analyser) Queries() bool { return a.Orders != "none" && a.Send != SendDownload }

// Downloads reports whether orders are sent to the analyser that it did not ask for.
func (a Analyser) Downloads() bool { return a.Orders != "none" && a.Send != SendQuery && a.Send != "" }

// sending checks that an analyser can be sent what it is to be sent.
func (k *checker) sending(key, where string, a Analyser) {
	if a.Send == SendQuery || a.Send == "" {
		return
	}
	if a.Orders == "none" {
		k.wrong(key+".send", where, `send = %q needs orders = "warn" or "required"`, a.Send)
	}
	if k.env.Downloads != nil && k.env.Profiles[a.Profile] != "" && !k.env.Downloads(k.Site.Profiles, a.Profile) {
		k.wrong(key+".send", where, `send = %q: the profile %q does not say that the analyser takes orders that it did not ask for; use "query"`, a.Send, a.Profile)
	}
}
