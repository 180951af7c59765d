package sealed_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"satchel/server/session/sealed"
)

func TestBox(t *testing.T) {
	key := [32]byte{1, 2, 3}
	b := sealed.New(key)
	for _, what := range []string{"", "x", strings.Repeat("long ", 1000)} {
		s := b.Seal([]byte(what), "purpose")
		got, ok := sealed.New(key).Open(s, "purpose")
		if !ok || string(got) != what {
			t.Fatalf("%.20q came back as %.20q, %v", what, got, ok)
		}
		if bytes.Equal(s, b.Seal([]byte(what), "purpose")) {
			t.Error("the same value is sealed the same way twice")
		}
		if _, ok := b.Open(s, "another"); ok {
			t.Error("opened for another purpose")
		}
		if _, ok := sealed.Fresh().Open(s, "purpose"); ok {
			t.Error("opened with another key")
		}
		for i := range s {
			for _, bit := range []byte{1, 0x80} {
				bad := bytes.Clone(s)
				bad[i] ^= bit
				if _, ok := b.Open(bad, "purpose"); ok {
					t.Fatalf("opened with a changed byte %d", i)
				}
			}
			if i < 64 {
				if _, ok := b.Open(s[:i], "purpose"); ok {
					t.Fatalf("opened cut to %d bytes", i)
				}
			}
		}
	}
	text := b.SealText([]byte("x"), "p")
	for what, bad := range map[string]string{
		"": "", "padding": text + "=", "a line break": text[:5] + "\n" + text[5:], "an alphabet": "!" + text[1:], "more": text + "AAAA",
	} {
		if _, ok := b.OpenText(bad, "p"); ok {
			t.Errorf("opened with %s", what)
		}
	}
	if got, ok := b.OpenText(text, "p"); !ok || string(got) != "x" {
		t.Error("text does not come back")
	}
	if s := fmt.Sprintf("%v %+v %#v", b, b, b); strings.Contains(s, "1 2 3") || strings.Contains(s, "0x1, 0x2") {
		t.Errorf("the key shows in %s", s)
	}
}
