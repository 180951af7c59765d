// Package template makes the mails' words: subject, plain text and HTML, in
// English, German and French.
//
// It knows nothing of records or rights. The caller gives values that are
// already what the receiver may see, in the receiver's language and time zone.
// Values are plain text: line ends and other control characters become spaces,
// long ones are cut, links must be http or https. So a person who is called
// something clever can change neither a subject, nor the paragraphs around the
// name, nor a page.
package template

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode"
)

// Mail is a rendered mail.
type Mail struct {
	// Subject is one line of at most 200 characters.
	Subject string
	// Text and HTML say the same.
	Text, HTML string
}

// Values are what one kind of mail needs; the types of this package are all
// there are.
type Values interface {
	// kind is the prefix of the kind's phrases.
	kind() string
	// clean returns a copy fit for the phrases, and the page's parts that are
	// no phrases. An error names a field that is missing or no address.
	clean() (Values, page, error)
}

// Person is whom a mail is for and who sends it.
type Person struct {
	// Name of the receiver, as it stands in the greeting; may be empty.
	Name string
	// Product is what the system is called, usually the company's name.
	Product string
}

// Invitation asks a new employee to set up an account.
type Invitation struct {
	Person
	// Inviter is the name of who invites; empty if nobody in particular does.
	Inviter string
	// Link sets up the account. Required.
	Link string
	// Until is when the link ends, in the receiver's time zone.
	Until time.Time
}

// PasswordReset carries the link to choose a new password.
type PasswordReset struct {
	Person
	// Link is required.
	Link string
	// Until is when the link ends, in the receiver's time zone.
	Until time.Time
}

// Item is one line of a digest.
type Item struct {
	Title string
	// Line says more; may be empty.
	Line string
	// At is when it happened, in the receiver's time zone; zero for never mind.
	At time.Time
	// Link opens it; may be empty.
	Link string
}

// Digest gathers what happened since the last one.
type Digest struct {
	Person
	// Items, oldest first; the first 50 are shown, the others counted.
	Items []Item
	// Settings is where the person chooses what to get; may be empty.
	Settings string
}

// Notice tells of one event at once.
type Notice struct {
	Person
	// Title is the event in a few words. Required; it is also the subject.
	Title string
	// Line says more; may be empty.
	Line string
	// Link opens the record; may be empty.
	Link string
	// Settings is where the person chooses what to get; may be empty.
	Settings string
}

// NewDevice warns a person that a device unknown so far signed in.
type NewDevice struct {
	Person
	// Device is what it calls itself; Platform its system; Address the network
	// address it came from. Empty ones are left out.
	Device, Platform, Address string
	// At is when, in the receiver's time zone.
	At time.Time
	// Link is where devices are revoked. Required.
	Link string
}

// Attempt is what somebody tried to do to the last administrator.
type Attempt string

// The attempts.
const (
	Disable    Attempt = "disable"     // to disable the account
	RemoveRole Attempt = "remove_role" // to take the administrator's role away
)

// LastAdministrator warns administrators of an attempt, which was refused,
// that would have left nobody to administer the system.
type LastAdministrator struct {
	Person
	// Actor is who tried; required.
	Actor string
	What  Attempt
	// At is when, in the receiver's time zone.
	At time.Time
	// Link opens the audit log; may be empty.
	Link string
}

// Bounds of what is put into a mail.
const (
	maxValue   = 120
	maxTitle   = 200
	maxLine    = 500
	maxItems   = 50
	maxLink    = 2000
	maxSubject = 200
)

// Languages are the languages there are words for.
func Languages() []string { return []string{"de", "en", "fr"} }

// Render makes a mail in the language of a tag ("de", "fr-CA"); other languages
// get English. Its error names a value that is missing or unusable.
func Render(tag string, v Values) (Mail, error) {
	language, _, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(tag, "_", "-")), "-")
	set := sets()
	words, ok := set.phrases[language]
	if !ok {
		language = "en"
		words = set.phrases[language]
	}
	kind := v.kind()
	v, p, err := v.clean()
	if err != nil {
		return Mail{}, fmt.Errorf("template: %s: %w", kind, err)
	}
	say := func(name string) string {
		if err != nil || words.Lookup(name) == nil {
			return ""
		}
		var b strings.Builder
		err = words.ExecuteTemplate(&b, name, v)
		return strings.TrimSpace(b.String())
	}
	p.Language = language
	p.Subject = line(say(kind+".subject"), maxSubject)
	p.Greeting = say("greeting")
	p.Paragraphs = paragraphs(say(kind + ".body"))
	p.After = paragraphs(say(kind + ".after"))
	if p.Link != "" {
		p.Button = say(kind + ".button")
	}
	if p.Settings != "" {
		p.SettingsWords = say("settings")
	}
	p.Footer = say("footer")
	for i := range p.Items {
		if !p.Items[i].At.IsZero() {
			p.Items[i].When = when(language, p.Items[i].At)
		}
	}
	if err != nil {
		return Mail{}, fmt.Errorf("template: %s: %w", kind, err)
	}
	var text, html strings.Builder
	if err := set.text.Execute(&text, p); err != nil {
		return Mail{}, fmt.Errorf("template: %s: %w", kind, err)
	}
	if err := set.html.Execute(&html, p); err != nil {
		return Mail{}, fmt.Errorf("template: %s: %w", kind, err)
	}
	return Mail{Subject: p.Subject, Text: text.String(), HTML: html.String()}, nil
}

// page is what the layouts show. Everything in it is plain text.
type page struct {
	Language, Subject, Greeting string
	Paragraphs, After           []string
	Items                       []shownItem
	Link, Button                string
	Settings, SettingsWords     string
	Footer                      string
}

type shownItem struct {
	Item
	When string
}

//go:embed phrases layout
var files embed.FS

type templates struct {
	phrases map[string]*template.Template
	text    *template.Template
	html    *htmltemplate.Template
}

// sets parses the templates once. They are part of the program: a fault in
// them is the program's, and a test's to find.
var sets = sync.OnceValue(func() templates {
	s := templates{phrases: map[string]*template.Template{}}
	for _, language := range Languages() {
		s.phrases[language] = template.Must(template.New(language).Option("missingkey=error").
			Funcs(template.FuncMap{"when": func(t time.Time) string { return when(language, t) }}).
			ParseFS(files, "phrases/"+language+".tmpl"))
	}
	s.text = template.Must(template.ParseFS(files, "layout/mail.txt.tmpl"))
	s.html = htmltemplate.Must(htmltemplate.ParseFS(files, "layout/mail.html.tmpl"))
	return s
})

// when writes an instant in the form that readers of a language expect, with
// the name of its time zone.
func when(language string, t time.Time) string {
	layout := map[string]string{"de": "02.01.2006, 15:04 MST", "fr": "02/01/2006 à 15:04 MST"}[language]
	if layout == "" {
		layout = "2 Jan 2006, 15:04 MST"
	}
	return t.Format(layout)
}

// paragraphs cuts at empty lines and joins what stands in one paragraph.
func paragraphs(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// line makes one line of at most limit characters of a value: control
// characters and separators become spaces, marks that turn the direction of
// writing go, and so do bytes that are no UTF-8.
func line(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return -1
		case unicode.IsControl(r), unicode.IsSpace(r), r == 0x2028, r == 0x2029:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		s = strings.TrimSpace(string(r[:limit-1])) + "…"
	}
	return s
}

var (
	errNoLink = errors.New("no link")
	errLink   = errors.New("a link that is no http or https address")
	errNoName = errors.New("no product name")
)

// link checks an address; an empty one is allowed.
func link(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || len(s) > maxLink ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>"'\`, r) }) {
		return errLink
	}
	return nil
}

func mustLink(s string) error {
	if s == "" {
		return errNoLink
	}
	return link(s)
}

func (p Person) clean() (Person, error) {
	p.Name, p.Product = line(p.Name, maxValue), line(p.Product, maxValue)
	if p.Product == "" {
		return p, errNoName
	}
	return p, nil
}

func (Invitation) kind() string { return "invitation" }

func (v Invitation) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	v.Inviter = line(v.Inviter, maxValue)
	return v, page{Link: v.Link}, errors.Join(err, mustLink(v.Link))
}

func (PasswordReset) kind() string { return "reset" }

func (v PasswordReset) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	return v, page{Link: v.Link}, errors.Join(err, mustLink(v.Link))
}

func (Digest) kind() string { return "digest" }

// digest is what the phrases of a digest see.
type digest struct {
	Digest
	Count, More int
}

func (v Digest) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	if len(v.Items) == 0 {
		err = errors.Join(err, errors.New("nothing to tell"))
	}
	d := digest{Count: len(v.Items), More: max(0, len(v.Items)-maxItems)}
	p := page{Settings: v.Settings}
	for _, it := range v.Items[:min(len(v.Items), maxItems)] {
		it.Title, it.Line = line(it.Title, maxTitle), line(it.Line, maxLine)
		if it.Title == "" {
			err = errors.Join(err, errors.New("an item without a title"))
		}
		err = errors.Join(err, link(it.Link))
		p.Items = append(p.Items, shownItem{Item: it})
	}
	d.Digest = v
	return d, p, errors.Join(err, link(v.Settings))
}

func (Notice) kind() string { return "notice" }

func (v Notice) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	v.Title, v.Line = line(v.Title, maxTitle), line(v.Line, maxLine)
	if v.Title == "" {
		err = errors.Join(err, errors.New("no title"))
	}
	return v, page{Link: v.Link, Settings: v.Settings}, errors.Join(err, link(v.Link), link(v.Settings))
}

func (NewDevice) kind() string { return "device" }

func (v NewDevice) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	v.Device, v.Platform, v.Address = line(v.Device, maxValue), line(v.Platform, maxValue), line(v.Address, maxValue)
	return v, page{Link: v.Link}, errors.Join(err, mustLink(v.Link))
}

func (LastAdministrator) kind() string { return "lastadmin" }

func (v LastAdministrator) clean() (Values, page, error) {
	var err error
	v.Person, err = v.Person.clean()
	if v.Actor = line(v.Actor, maxValue); v.Actor == "" {
		err = errors.Join(err, errors.New("nobody who tried"))
	}
	if v.What != Disable && v.What != RemoveRole {
		err = errors.Join(err, fmt.Errorf("unknown attempt %q", string(v.What)))
	}
	return v, page{Link: v.Link}, errors.Join(err, link(v.Link))
}
