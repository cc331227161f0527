package record

import "testing"

func TestAWholeNameIsSplitByRuleAndNothingIsLost(t *testing.T) {
	for _, x := range []struct {
		rule NameRule
		name Name
		want Name
	}{
		{NameWhole, Name{Family: "Nguyễn Thị Ánh"}, Name{Family: "Nguyễn Thị Ánh"}},
		{NameFirstWord, Name{Family: "Nguyễn Thị Ánh"}, Name{Family: "Nguyễn", Given: "Thị Ánh"}},
		{NameLastWord, Name{Family: "Nguyễn Thị Ánh"}, Name{Family: "Nguyễn", Given: "Ánh", Middle: "Thị"}},
		{NameLastWord, Name{Family: "Nguyễn Ánh"}, Name{Family: "Nguyễn", Given: "Ánh"}},
		{NameFirstWord, Name{Family: "Ánh"}, Name{Family: "Ánh"}},
		{NameFirstWord, Name{}, Name{}},
		{NameLastWord, Name{Family: "Tôn Nữ", Given: "Hương"}, Name{Family: "Tôn Nữ", Given: "Hương"}},
	} {
		got := x.name.Split(x.rule)
		if got != x.want {
			t.Errorf("%q by %s: %+v, want %+v", x.name.Whole(), x.rule, got, x.want)
		}
		if got.Whole() != x.name.Whole() {
			t.Errorf("by %s %q became %q", x.rule, x.name.Whole(), got.Whole())
		}
	}
}

func TestABirthDateIsAsPreciseAsItIsKnown(t *testing.T) {
	for text, want := range map[string]string{
		"1960": "1960", "196005": "196005", "19600517": "19600517", "19600000": "1960", "196000000000": "1960",
		"196005170830": "19600517", "19600500": "196005", "": "", "60": "60", "17/05/1960": "17/05/1960", "196": "196", "19601": "1960",
	} {
		if got := BirthDate(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
