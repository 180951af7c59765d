package template

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write the golden files")

// samples has one mail of each kind.
func samples() map[string]Values {
	zone := time.FixedZone("CET", 3600)
	at := time.Date(2025, 3, 1, 17, 5, 0, 0, zone)
	p := Person{Name: "Zoë O'Neill", Product: "Miller & Sons"}
	return map[string]Values{
		"invitation": Invitation{Person: p, Inviter: "Jürgen Groß", Link: "https://work.example.com/setup?t=a&b=c", Until: at},
		"reset":      PasswordReset{Person: p, Link: "https://work.example.com/reset?t=abc", Until: at},
		"digest": Digest{Person: p, Settings: "https://work.example.com/settings", Items: []Item{
			{Title: "Activity cleared: pump <3>", Line: "Basement, line 2", At: at, Link: "https://work.example.com/a/1"},
			{Title: "Contract expires"},
		}},
		"notice":    Notice{Person: p, Title: "Answer to your question", Line: "The pump is there on Monday.", Link: "https://work.example.com/t/7", Settings: "https://work.example.com/settings"},
		"device":    NewDevice{Person: p, Device: "Zoë's phone", Platform: "Android 16", Address: "192.0.2.7", At: at, Link: "https://work.example.com/devices"},
		"lastadmin": LastAdministrator{Person: p, Actor: "Sam Doe", What: RemoveRole, At: at, Link: "https://work.example.com/audit"},
	}
}

func TestGolden(t *testing.T) {
	for kind, v := range samples() {
		for _, language := range Languages() {
			m, err := Render(language, v)
			if err != nil {
				t.Fatal(err)
			}
			got := "Subject: " + m.Subject + "\n\n" + m.Text + "\n======\n" + m.HTML
			path := filepath.Join("testdata", kind+"."+language+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s in %s (-want +got):\n%s", kind, language, d)
			}
		}
	}
}

// Every language has every phrase of English, and none of its own.
func TestLanguagesHaveTheSamePhrases(t *testing.T) {
	names := func(t *template.Template) map[string]bool {
		out := map[string]bool{}
		for _, p := range t.Templates() {
			if !strings.HasSuffix(p.Name(), ".tmpl") && p.Name() != "de" && p.Name() != "en" && p.Name() != "fr" {
				out[p.Name()] = true
			}
		}
		return out
	}
	en := names(sets().phrases["en"])
	if len(en) < 20 {
		t.Fatalf("only %d phrases", len(en))
	}
	for _, language := range Languages() {
		if d := cmp.Diff(en, names(sets().phrases[language])); d != "" {
			t.Errorf("%s: %s", language, d)
		}
	}
	for kind := range samples() {
		if !en[kind+".subject"] || !en[kind+".body"] {
			t.Errorf("%s lacks a subject or a body", kind)
		}
	}
}

func TestUnknownLanguagesGetEnglish(t *testing.T) {
	v := samples()["reset"]
	for tag, want := range map[string]string{"": "Choose a new password", "ja": "Choose a new password", "DE-at": "Neues Passwort wählen", "fr_CA": "Choisir un nouveau mot de passe"} {
		m, err := Render(tag, v)
		if err != nil || m.Subject != want {
			t.Errorf("%q: %q, %v", tag, m.Subject, err)
		}
	}
}

// clever is what a person with a grudge might be called.
const clever = "Eve\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>\u202e\u2028{{.Link}} \"'></a><img src=x onerror=y>\x00\xff"

func TestValuesStayValues(t *testing.T) {
	p := Person{Name: clever, Product: clever}
	for name, v := range map[string]Values{
		"invitation": Invitation{Person: p, Inviter: clever, Link: "https://x.example/"},
		"digest":     Digest{Person: p, Items: []Item{{Title: clever, Line: clever}}},
		"notice":     Notice{Person: p, Title: clever, Line: clever},
		"device":     NewDevice{Person: p, Device: clever, Platform: clever, Address: clever, Link: "https://x.example/"},
		"lastadmin":  LastAdministrator{Person: p, Actor: clever, What: Disable},
	} {
		m, err := Render("en", v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(m.Subject, "\r\n\x00") || utf8.RuneCountInString(m.Subject) > maxSubject {
			t.Errorf("%s: subject %q", name, m.Subject)
		}
		for part, s := range map[string]string{"subject": m.Subject, "text": m.Text, "html": m.HTML} {
			if strings.ContainsAny(s, "\r\x00\u202e\u2028") || !utf8.ValidString(s) {
				t.Errorf("%s: %s keeps a control character", name, part)
			}
		}
		if regexp.MustCompile(`(?m)^\s*Bcc:`).MatchString(m.Text) {
			t.Errorf("%s: a value begins a line of its own:\n%s", name, m.Text)
		}
		// Only our own elements are in the page.
		z := html.NewTokenizer(strings.NewReader(m.HTML))
		for z.Next() != html.ErrorToken {
			tok := z.Token()
			if tok.Type == html.StartTagToken && (tok.Data == "script" || tok.Data == "img") {
				t.Errorf("%s: a value became <%s>", name, tok.Data)
			}
		}
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	p := Person{Product: "X"}
	for name, v := range map[string]Values{
		"no product":       PasswordReset{Link: "https://x.example/"},
		"no link":          PasswordReset{Person: p},
		"script":           PasswordReset{Person: p, Link: "javascript:alert(1)"},
		"relative":         Invitation{Person: p, Link: "/setup"},
		"two lines":        Invitation{Person: p, Link: "https://x.example/\r\nhttps://y.example/"},
		"with quotes":      NewDevice{Person: p, Link: `https://x.example/"onclick="x`},
		"with a password":  NewDevice{Person: p, Link: "https://bank.example@x.example/"},
		"long":             NewDevice{Person: p, Link: "https://x.example/" + strings.Repeat("a", maxLink)},
		"empty digest":     Digest{Person: p},
		"item's link":      Digest{Person: p, Items: []Item{{Title: "a", Link: "data:text/html,x"}}},
		"item's title":     Digest{Person: p, Items: []Item{{Title: " \n"}}},
		"settings":         Notice{Person: p, Title: "a", Settings: "ftp://x.example/"},
		"no title":         Notice{Person: p, Line: "a"},
		"nobody":           LastAdministrator{Person: p, What: Disable},
		"unknown attempt":  LastAdministrator{Person: p, Actor: "A", What: "burn"},
		"no product again": LastAdministrator{Person: Person{Product: "\r\n"}, Actor: "A", What: Disable},
	} {
		if m, err := Render("de", v); err == nil {
			t.Errorf("%s is taken: %q", name, m.Text)
		}
	}
}

func TestLongDigestIsCut(t *testing.T) {
	var items []Item
	for range 53 {
		items = append(items, Item{Title: "work"})
	}
	m, err := Render("fr", Digest{Person: Person{Product: "X"}, Items: items})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(m.Text, "- work"); n != maxItems {
		t.Errorf("%d items", n)
	}
	if !strings.Contains(m.Text, "… et 3 de plus.") || !strings.Contains(m.HTML, "… et 3 de plus.") || !strings.Contains(m.Subject, "(53)") {
		t.Errorf("%s\n%s", m.Subject, m.Text)
	}
}
