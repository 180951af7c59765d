package client

import (
	"encoding/json"
	"testing"
	"unicode"

	"satchel/internal/entity"
	mobile "satchel/mobile-api/wire"
)

// TestCharacters: a phone refuses the characters that the server refuses, no
// more and no less, in new texts and in those that take the place of others.
func TestCharacters(t *testing.T) {
	fields := map[*entity.Field]*mobile.FieldRules{
		entity.Str(1, "f"):                           {Name: "f", Kind: "string"},
		entity.Long(1, "f"):                          {Name: "f", Kind: "text"},
		entity.Set(1, "f"):                           {Name: "f", Kind: "strings"},
		entity.List(1, "f", entity.Str(1, "text")):   {Name: "f", Kind: "lines", Lines: []mobile.FieldRules{{Name: "text", Kind: "string"}}},
		entity.List(1, "f", entity.Long(1, "words")): {Name: "f", Kind: "lines", Lines: []mobile.FieldRules{{Name: "words", Kind: "text"}}},
	}
	for f, rules := range fields {
		of := func(s string) json.RawMessage {
			var v any = s
			switch f.Kind {
			case entity.Strings:
				v = []string{s}
			case entity.Lines:
				v = []map[string]string{{"id": "1", f.Items[0].Name: s}}
			}
			raw, err := json.Marshal(v)
			must(t, err)
			return raw
		}
		for r := rune(0); r <= 0x3100; r++ {
			if r > 0x2f && r < 0x3a || unicode.IsLetter(r) {
				continue
			}
			s := "a" + string(r) + "b"
			_, theirs := f.Normalize(of(s))
			_, mine := fits(rules, of(s))
			if (mine == nil) != (theirs == nil) {
				t.Errorf("%s of %+q: the phone %v, the server %v", f.Kind, s, mine, theirs)
			}
			held, err := f.Recall(of(s))
			if err != nil {
				held = nil
			}
			// Over an odd text the phone leaves it to the server.
			if _, mine := fitsOver(rules, of(s), json.RawMessage(held)); mine != nil {
				if _, theirs := f.Replace(of(s), held); theirs == nil {
					t.Errorf("%s of %+q may stay, and the phone says %v", f.Kind, s, mine)
				}
			}
			if _, mine := fitsOver(rules, of(s), of("sound")); (mine == nil) != (theirs == nil) {
				t.Errorf("%s of %+q over a sound text: the phone %v", f.Kind, s, mine)
			}
		}
	}
}
