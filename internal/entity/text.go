package entity

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// barred says which characters texts of a kind can't have.
type barred func(k Kind, r rune) bool

func (b barred) in(k Kind, s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return b(k, r) })
}

// unfit reports whether no new text may have the character: a control
// character, what stands for bytes that are no UTF-8, and what turns the
// direction of the text that follows, by which one name looks like another. A
// Text may break lines and have tabs. Marks and joiners (U+200C to U+200F),
// without which Arabic, Hebrew, Persian, Indic scripts and emoji can't be
// written, reach no further than their neighbours.
func unfit(k Kind, r rune) bool {
	switch r {
	case '\n', '\r', '\t', '\u2028', '\u2029':
		return k != Text
	}
	return r == utf8.RuneError || unicode.IsControl(r) || turns(r)
}

// once is what was refused before unfit refused more.
func once(k Kind, r rune) bool {
	return r == utf8.RuneError || r == 0 || (k != Text && r < ' ')
}

// turns reports whether the character embeds, overrides or isolates a
// direction of writing, or ends that.
func turns(r rune) bool {
	return (r >= '\u202a' && r <= '\u202e') || (r >= '\u2066' && r <= '\u2069')
}

// Unturned is the text without the characters that turn its direction, for
// names that a system sets between them.
func Unturned(s string) string {
	return strings.Map(func(r rune) rune {
		if turns(r) {
			return -1
		}
		return r
	}, s)
}

// Fit reports whether a text that is no field's may be taken, as one of the
// kind String or Text.
func Fit(k Kind, s string) bool { return !barred(unfit).in(k, s) }

// Recall is Normalize for a value that a record holds or held: it may have
// characters that were taken before Normalize refused them.
func (f *Field) Recall(raw []byte) (Value, error) { return f.normalize(raw, once) }

// Replace is Normalize for a value that takes the place of another: texts,
// entries and members of lines that are held already may stay as they are.
func (f *Field) Replace(raw []byte, held Value) (Value, error) {
	v, err := f.Normalize(raw)
	if err == nil || held.IsNull() {
		return v, err
	}
	if old, was := f.Recall(raw); was == nil && f.keeps(old, held) {
		return old, nil
	}
	return nil, err
}

// keeps reports whether what Normalize would refuse of a value is held.
func (f *Field) keeps(v, held Value) bool {
	switch f.Kind {
	case Strings:
		before := held.Set()
		return !slices.ContainsFunc(v.Set(), func(s string) bool {
			return !Fit(f.Kind, s) && !slices.Contains(before, s)
		})
	case Lines:
		return f.keepsLines(v, held)
	}
	return bytes.Equal(v, held)
}

func (f *Field) keepsLines(v, held Value) bool {
	var rows, before []map[string]json.RawMessage
	if json.Unmarshal(v, &rows) != nil || json.Unmarshal(held, &before) != nil {
		return false
	}
	was := make(map[string]map[string]json.RawMessage, len(before))
	for _, row := range before {
		was[string(row["id"])] = row
	}
	for _, row := range rows {
		old, known := was[string(row["id"])]
		if id := Value(row["id"]).Text(); !known && !Fit(String, id) {
			return false
		}
		for _, it := range f.Items {
			if _, err := it.Replace(row[it.Name], Value(old[it.Name])); err != nil {
				return false
			}
		}
	}
	return true
}
