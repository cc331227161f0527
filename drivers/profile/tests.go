package profile

// A Test is a declared test.
type Test struct{ Code, Name, LOINC string }

// Tests lists the declared tests in the order of the file.
func (p *Profile) Tests() []Test {
	all := make([]Test, len(p.f.Tests))
	for i, t := range p.f.Tests {
		all[i] = Test{t.Code, t.Name, t.LOINC}
	}
	return all
}
