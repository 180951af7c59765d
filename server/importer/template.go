package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// template is text with columns in it: "aw-client-{CustomerID|pad:8}". Braces
// can't be written otherwise. The functions behind a bar work on the column's
// value, from left to right:
//
//	upper lower      letters
//	title            each word with a capital
//	squeeze          runs of blanks become one
//	slug             letters and digits in lower case, a hyphen for the rest
//	pad:N            zeros in front, up to N characters
//	hash:N           the first N hexadecimal digits of the SHA-256
//	before:T         what stands before the first T, or all of it
//	after:T          what stands after the first T, or all of it
//	cut:N            at most N characters, the last an ellipsis where more were
//	map:NAME         the value map; a value that it lacks is an error
//	prefix:T         T before a value that is not empty
//	nonzero          nothing for a number that is zero
//
// Blanks around a column's value are not part of it. Of an empty value every
// function makes an empty one.
type template struct {
	parts []part
	m     *Mapping
}

type part struct {
	text  string // literal where name is ""
	name  string
	calls []call
}

type call struct {
	fn  string
	arg string
	n   int
}

// functions says which functions take a number ('n'), a text ('t') or nothing.
var functions = map[string]byte{
	"upper": 0, "lower": 0, "title": 0, "squeeze": 0, "slug": 0, "nonzero": 0,
	"pad": 'n', "hash": 'n', "cut": 'n', "before": 't', "after": 't', "map": 't', "prefix": 't',
}

func parseTemplate(text string, m *Mapping) (*template, error) {
	t := &template{m: m}
	rest := text
	for rest != "" {
		open := strings.IndexByte(rest, '{')
		if stray := strings.IndexByte(rest, '}'); stray >= 0 && (open < 0 || stray < open) {
			return nil, fmt.Errorf("%q: a brace closes nothing", text)
		}
		if open < 0 {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		if open > 0 {
			t.parts = append(t.parts, part{text: rest[:open]})
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			return nil, fmt.Errorf("%q: a brace is not closed", text)
		}
		p, err := parsePart(rest[open+1:open+end], m)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		t.parts = append(t.parts, p)
		rest = rest[open+end+1:]
	}
	return t, nil
}

func parsePart(s string, m *Mapping) (part, error) {
	bits := strings.Split(s, "|")
	p := part{name: bits[0]}
	if p.name == "" || strings.ContainsAny(p.name, "{:") {
		return p, fmt.Errorf("%q is no column", p.name)
	}
	for _, b := range bits[1:] {
		fn, arg, has := strings.Cut(b, ":")
		want, known := functions[fn]
		c := call{fn: fn, arg: arg}
		switch {
		case !known:
			return p, fmt.Errorf("there is no function %q", fn)
		case has != (want != 0) || (has && arg == ""):
			return p, fmt.Errorf("function %q: wrong argument", fn)
		case want == 'n':
			n, err := strconv.Atoi(arg)
			if err != nil || n < 1 || n > 10_000 || (fn == "hash" && n > 64) {
				return p, fmt.Errorf("function %q: wrong number", fn)
			}
			c.n = n
		case fn == "map" && m.folded[arg] == nil:
			return p, fmt.Errorf("there is no value map %q", arg)
		}
		p.calls = append(p.calls, c)
	}
	return p, nil
}

// names lists the columns in the template.
func (t *template) names() []string {
	var out []string
	for _, p := range t.parts {
		if p.name != "" {
			out = append(out, p.name)
		}
	}
	return out
}

// eval puts the columns in. A template of which every column is empty yields
// nothing, whatever text stands between them; full says that none was.
func (t *template) eval(look func(string) string) (s string, full bool, err error) {
	var b strings.Builder
	some, full := false, true
	columns := false
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		columns = true
		v := strings.TrimSpace(look(p.name))
		for _, c := range p.calls {
			if v, err = c.apply(v, t.m); err != nil {
				return "", false, fmt.Errorf("%s: %w", p.name, err)
			}
		}
		if v == "" {
			full = false
		} else {
			some = true
		}
		b.WriteString(v)
	}
	if columns && !some {
		return "", false, nil
	}
	return strings.TrimSpace(b.String()), full, nil
}

func (c call) apply(v string, m *Mapping) (string, error) {
	if v == "" && c.fn != "map" {
		return "", nil
	}
	switch c.fn {
	case "upper":
		return strings.ToUpper(v), nil
	case "lower":
		return strings.ToLower(v), nil
	case "title":
		return title(v), nil
	case "squeeze":
		return strings.Join(strings.Fields(v), " "), nil
	case "slug":
		return slug(v), nil
	case "pad":
		return strings.Repeat("0", max(0, c.n-len(v))) + v, nil
	case "hash":
		h := sha256.Sum256([]byte(v))
		return hex.EncodeToString(h[:])[:c.n], nil
	case "before":
		s, _, _ := strings.Cut(v, c.arg)
		return strings.TrimSpace(s), nil
	case "after":
		if _, s, ok := strings.Cut(v, c.arg); ok {
			return strings.TrimSpace(s), nil
		}
		return v, nil
	case "cut":
		if utf8.RuneCountInString(v) <= c.n {
			return v, nil
		}
		return strings.TrimSpace(string([]rune(v)[:c.n-1])) + "…", nil
	case "map":
		return m.mapped(c.arg, v)
	case "prefix":
		return c.arg + v, nil
	case "nonzero":
		if strings.Trim(v, "0.") == "" {
			return "", nil
		}
		return v, nil
	}
	panic("importer: function " + c.fn)
}

// mapped takes a value through a value map. An empty value stays empty unless
// the map says what stands for it.
func (m *Mapping) mapped(name, v string) (string, error) {
	values := m.folded[name]
	if to, ok := values[fold(v)]; ok {
		return to, nil
	}
	if v == "" {
		return "", nil
	}
	if to, ok := values["*"]; ok {
		return to, nil
	}
	return "", fmt.Errorf("the value map %s has no %q", name, v)
}

// fold is how values are compared: without regard to case and outer blanks.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func slug(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(s) {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		gap = true
	}
	return b.String()
}

func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\''
		was := start
		start = !letter
		if was {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}
