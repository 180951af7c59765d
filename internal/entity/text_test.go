package entity

import (
	"encoding/json"
	"testing"

	"satchel/internal/fault"
)

func quoted(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestTextsThatPretend: no text has characters that make it look like another
// or that terminals and logs obey; a text of one line has no breaks either.
func TestTextsThatPretend(t *testing.T) {
	refuses := func(f *Field, v any) {
		t.Helper()
		if got, err := f.Normalize(quoted(t, v)); !fault.Is(err, fault.BadValue) {
			t.Errorf("%s takes %+q: %s %v", f.Kind, v, got, err)
		}
	}
	lines := List(1, "f", Str(1, "text"))
	var always []rune
	for _, span := range [][2]rune{{0, 8}, {0x0b, 0x0c}, {0x0e, 0x1f}, {0x7f, 0x9f}, {0x202a, 0x202e}, {0x2066, 0x2069}} {
		for r := span[0]; r <= span[1]; r++ {
			always = append(always, r)
		}
	}
	for _, r := range always {
		s := "a" + string(r) + "b"
		refuses(Long(1, "f"), s)
	}
	for _, r := range append(always, '\n', '\r', '\t', 0x2028, 0x2029) {
		s := "a" + string(r) + "b"
		refuses(Str(1, "f"), s)
		refuses(Set(1, "f"), []string{"fine", s})
		refuses(lines, []map[string]string{{"id": "1", "text": s}})
		refuses(lines, []map[string]string{{"id": s, "text": "fine"}})
	}
	if v, err := Long(1, "f").Normalize(quoted(t, "a\nb\r\nc\td\u2028e\u2029f")); err != nil || v.Text() != "a\nb\r\nc\td\u2028e\u2029f" {
		t.Errorf("a text of many lines: %q %v", v, err)
	}
}

// TestTextsOfTheWorld: what people write is taken as it is, marks and joiners
// without which it can't be written among it.
func TestTextsOfTheWorld(t *testing.T) {
	for _, s := range []string{
		"\u0634\u0631\u0643\u0629 \u0627\u0644\u0646\u0648\u0631 (2024)\u200f", // Arabic with a mark behind the bracket
		"\u061cABC \u0634\u0631\u0643\u0629",                                   // and the Arabic letter mark
		"\u05d3\u05d5\u05d3 \u05db\u05d4\u05df\u200f! 12\u200e-34",             // Hebrew
		"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",                     // Persian needs the non-joiner
		"\u0915\u094d\u200d\u0937 \u0dc1\u0dca\u200d\u0dbb\u0dd3",              // Indic scripts the joiner
		"\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",           // a family
		"\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd",                // a flag, a shade
		"\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
		"Zoë\u00a0Müller\u00ad\u2011Łukasiewicz, 東京\u3000支店", "e\u0301",
	} {
		for _, f := range []*Field{Str(1, "f"), Long(1, "f")} {
			if v, err := f.Normalize(quoted(t, s)); err != nil || v.Text() != s {
				t.Errorf("%s of %+q: %+q %v", f.Kind, s, v.Text(), err)
			}
		}
		if v, err := Set(1, "f").Normalize(quoted(t, []string{s})); err != nil || len(v.Set()) != 1 || v.Set()[0] != s {
			t.Errorf("a set of %+q: %s %v", s, v, err)
		}
	}
}

// TestReplaceKeeps: what a record held before such characters were refused
// can be recalled, and stays in what takes its place; nothing of the sort comes
// anew.
func TestReplaceKeeps(t *testing.T) {
	const odd, other = "a\u202eb", "c\u0085d"
	str, set := Str(1, "f"), Set(1, "f")
	lines := List(1, "f", Str(1, "text").Need(), Integer(2, "n"))
	type line map[string]any
	recall := func(f *Field, v any) Value {
		t.Helper()
		got, err := f.Recall(quoted(t, v))
		if err != nil || got.IsNull() {
			t.Fatalf("%+q is not recalled: %v", v, err)
		}
		return got
	}
	heldSet := recall(set, []string{odd, "x"})
	heldLines := recall(lines, []line{{"id": "1", "text": odd, "n": 1}, {"id": "2", "text": "y"}})
	for _, c := range []struct {
		what string
		f    *Field
		held Value
		v    any
		ok   bool
	}{
		{"the same", str, recall(str, odd), odd, true},
		{"a sound one", str, recall(str, odd), "ab", true},
		{"another odd one", str, recall(str, odd), other, false},
		{"an odd one over none", str, nil, odd, false},
		{"one more entry", set, heldSet, []string{odd, "x", "z"}, true},
		{"the odd entry gone", set, heldSet, []string{"x"}, true},
		{"another odd entry", set, heldSet, []string{odd, other}, false},
		{"a number beside it", lines, heldLines, []line{{"id": "1", "text": odd, "n": 2}, {"id": "2", "text": "z"}}, true},
		{"another line", lines, heldLines, []line{{"id": "1", "text": odd}, {"id": "3", "text": "z"}}, true},
		{"in another line", lines, heldLines, []line{{"id": "1", "text": "x"}, {"id": "2", "text": odd}}, false},
		{"in a new line", lines, heldLines, []line{{"id": "3", "text": odd}}, false},
		{"another text", lines, heldLines, []line{{"id": "1", "text": other}}, false},
		{"no text", lines, heldLines, []line{{"id": "1", "n": 2}}, false},
	} {
		raw := quoted(t, c.v)
		got, err := c.f.Replace(raw, c.held)
		if c.ok {
			if want := recall(c.f, c.v); err != nil || string(got) != string(want) {
				t.Errorf("%s: %s %v", c.what, got, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: taken as %s", c.what, got)
		}
	}
	for _, s := range []string{"a\nb", "a\x00b"} {
		if _, err := str.Recall(quoted(t, s)); err == nil {
			t.Errorf("%q was never taken, and is recalled", s)
		}
	}
}
