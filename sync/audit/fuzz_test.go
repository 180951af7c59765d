package audit_test

import (
	"testing"

	"satchel/sync/audit"
)

// FuzzHead: the end of a trail that somebody kept elsewhere is read as what was
// written, and nothing else is one.
func FuzzHead(f *testing.F) {
	f.Add(audit.Head{}.String())
	f.Add("00@1")
	f.Add("ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789@18446744073709551615")
	f.Add("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef@-1")
	f.Add("@")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := audit.ParseHead(s)
		if err != nil {
			return
		}
		back, err := audit.ParseHead(h.String())
		if err != nil || back != h {
			t.Fatalf("%q is %v, then %v, %v", s, h, back, err)
		}
	})
}
