package console

import "nhip/gateway/reason"

// In is the text in a language, for others who show what the console shows.
func (w Words) In(l reason.Language) string { return w.in(l) }
