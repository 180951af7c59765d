package importer

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // a mapping names a time zone, on machines without any too

	"satchel/internal/entity"
	"satchel/internal/strictjson"
)

//go:embed mappings/*.json
var builtin embed.FS

// Mapping says what becomes of the files of a source system.
type Mapping struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// TimeZone is that of times without one, an IANA name; UTC unless given.
	TimeZone string `json:"timeZone"`
	// Layouts are tried in order for times and dates, in Go's notation.
	Layouts []string `json:"layouts"`
	// Sources are the files, by the names that rules use.
	Sources map[string]*Source `json:"sources"`
	// Maps are value maps by name. Keys are compared without regard to case
	// and outer blanks; the key "*" stands for every other value.
	Maps map[string]map[string]string `json:"maps"`
	// Ignored are files of the folder that are left alone on purpose.
	Ignored []string `json:"ignored"`
	// Grids are map projections by name, for positions.
	Grids map[string]*Grid `json:"grids"`
	// Rules are carried out one after the other, each for all its rows.
	Rules []*Rule `json:"rules"`

	zone   *time.Location
	folded map[string]map[string]string
}

// Source is one or more CSV files with the same columns.
type Source struct {
	Files []string `json:"files"`
	// Encoding is "utf-8", the default, or "iso-8859-1".
	Encoding string `json:"encoding"`
	// Require lists what every row must have; one without is rejected.
	Require []Requirement `json:"require"`
	// Key is what a row is about. A later row of the same key is laid over the
	// first, its empty columns apart, and counts as repeated; rules see the one
	// row that comes of it. Without a key every row stands for itself.
	Key string `json:"key"`
	// Let names values that are computed from the row's columns; rules use
	// them like columns. They may use those before them in Order.
	Let []Computed `json:"let"`

	name     string
	key      *template
	columns  map[string]bool
	required []*requirement
	computed []*computed
	driven   bool // some rule or document is made of its rows
}

// Requirement is a value that must not be empty, and the reason given for
// rejecting a row without it.
type Requirement struct {
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

type requirement struct {
	value  *template
	reason string
}

// Computed is a named value.
type Computed struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type computed struct {
	name  string
	value *template
}

// Rule makes one record of each row of a source that meets its conditions.
type Rule struct {
	From string      `json:"from"`
	When []Condition `json:"when"`
	With []Join      `json:"with"`
	// Where are conditions on what With looked up.
	Where []Condition `json:"where"`
	// Reject, if given, is the reason for which the rows are rejected; the
	// rule has nothing else then.
	Reject string `json:"reject"`
	Type   string `json:"type"`
	ID     string `json:"id"`
	// Created is the instant the record was made in the source.
	Created *Value `json:"created"`
	// Update marks a rule that adds to the records of an earlier one.
	Update bool `json:"update"`
	// Keep says whose value stands where rows lead to the same id: "last", the
	// default, or "first". A row without a value never erases one.
	Keep string `json:"keep"`
	// Watch lists fields of which a further row's other value is noted in the
	// report when Keep is "first": it is lost.
	Watch  []string          `json:"watch"`
	Fields map[string]*Value `json:"fields"`

	typ    *entity.Type
	id     *template
	names  []string // of Fields, those that others lean on first
	source *Source
}

// Condition is met when the value is one of In (compared like keys of value
// maps), or when it is empty or not, as Set says.
type Condition struct {
	Value string   `json:"value"`
	In    []string `json:"in"`
	NotIn []string `json:"notIn"`
	Set   *bool    `json:"set"`

	value *template
}

// Join looks another source's row up; its columns are then As.Column. Of
// several the first in file order is taken, of those that meet Where.
type Join struct {
	As       string      `json:"as"`
	Source   string      `json:"source"`
	Column   string      `json:"column"`
	Equals   string      `json:"equals"`
	Where    []Condition `json:"where"` // about the row looked up, its columns unprefixed
	Optional bool        `json:"optional"`

	equals *template
	source *Source
}

// Value says how a field's value comes about: in JSON a template alone, or an
// object with these members.
type Value struct {
	// Template yields the text; First tries several until one is not empty,
	// All yields the members of a set.
	Template string   `json:"value"`
	First    []string `json:"first"`
	All      []string `json:"all"`
	// Map names a value map that the text goes through.
	Map string `json:"map"`
	// When bounds the value to rows that meet all conditions.
	When []Condition `json:"when"`
	// Currency is that of an amount of money, which the source writes as a
	// decimal number.
	Currency string `json:"currency"`
	// Grid names the projection of a position; Template is then "x y".
	Grid string `json:"grid"`
	// NotBefore names a field of the rule that this time must not precede. One
	// that does is left out, with a note in the report and in the text field
	// that Note names; with Disorder "reject" the row is rejected instead.
	NotBefore string `json:"notBefore"`
	Disorder  string `json:"disorder"`
	Note      string `json:"note"`
	// Lines makes the lines of a document of the rows of another source.
	Lines *Lines `json:"lines"`

	templates []*template
	field     *entity.Field
	grid      *Grid
}

// Lines says which rows of another source are a document's lines. A row that
// no document takes is rejected.
type Lines struct {
	Source string            `json:"source"`
	Column string            `json:"column"`
	Equals string            `json:"equals"`
	ID     string            `json:"id"`
	Fields map[string]*Value `json:"fields"`

	equals, id *template
	source     *Source
	names      []string
}

// UnmarshalJSON takes a template alone for a Value.
func (v *Value) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return strictjson.Decode(b, &v.Template)
	}
	type plain Value
	return strictjson.Decode(b, (*plain)(v))
}

// Builtin lists the names of the mappings that come with the program, sorted.
func Builtin() []string {
	entries, err := fs.ReadDir(builtin, "mappings")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}

// Load reads a mapping by the name of one that comes with the program, or
// from a file.
func Load(name string) (*Mapping, error) {
	var b []byte
	var err error
	if slices.Contains(Builtin(), name) {
		b, err = builtin.ReadFile(path.Join("mappings", name+".json"))
	} else if b, err = os.ReadFile(name); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("importer: there is no mapping %q; those that come with the program are: %s", name, strings.Join(Builtin(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("importer: %w", err)
	}
	m, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("importer: mapping %s: %w", name, err)
	}
	return m, nil
}

// Parse reads a mapping and checks what can be checked without the catalogue:
// unknown members, templates, names that lead nowhere.
func Parse(b []byte) (*Mapping, error) {
	m := &Mapping{}
	if err := strictjson.Decode(b, m); err != nil {
		return nil, err
	}
	if err := m.prepare(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Mapping) prepare() error {
	var err error
	if m.TimeZone == "Local" { // would depend on the machine
		return errors.New("timeZone: an IANA name is wanted")
	}
	if m.zone, err = time.LoadLocation(m.TimeZone); err != nil {
		return err
	}
	m.folded = map[string]map[string]string{}
	for name, values := range m.Maps {
		f := map[string]string{}
		for k, v := range values {
			if _, twice := f[fold(k)]; twice {
				return fmt.Errorf("maps.%s: %q stands twice", name, k)
			}
			f[fold(k)] = v
		}
		m.folded[name] = f
	}
	for name, g := range m.Grids {
		if g == nil || g.Scale <= 0 || g.Unit <= 0 {
			return fmt.Errorf("grids.%s: scale and unit must be above zero", name)
		}
	}
	if len(m.Rules) == 0 {
		return errors.New("a mapping needs rules")
	}
	for _, name := range sortedKeys(m.Sources) {
		if err := m.prepareSource(name, m.Sources[name]); err != nil {
			return fmt.Errorf("sources.%s: %w", name, err)
		}
	}
	for i, r := range m.Rules {
		if err := m.prepareRule(r); err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
	}
	return nil
}

func (m *Mapping) prepareSource(name string, s *Source) error {
	if s == nil || len(s.Files) == 0 {
		return errors.New("no files")
	}
	for _, f := range s.Files {
		if f == "" || f != path.Base(f) || strings.ContainsAny(f, `/\`) {
			return fmt.Errorf("file %q: a name without folders is wanted", f)
		}
	}
	if s.Encoding != "" && s.Encoding != utf8Encoding && s.Encoding != latin1Encoding {
		return fmt.Errorf("encoding %q: utf-8 or iso-8859-1", s.Encoding)
	}
	s.name, s.columns = name, map[string]bool{}
	scope := &scope{m: m, source: s, lets: map[string]bool{}}
	for _, l := range s.Let {
		if l.Name == "" || scope.lets[l.Name] {
			return fmt.Errorf("let %q: missing or repeated", l.Name)
		}
		t, err := scope.parse(l.Value)
		if err != nil {
			return fmt.Errorf("let %s: %w", l.Name, err)
		}
		scope.lets[l.Name] = true
		s.computed = append(s.computed, &computed{l.Name, t})
	}
	if s.Key != "" {
		var err error
		if s.key, err = scope.parse(s.Key); err != nil {
			return fmt.Errorf("key: %w", err)
		}
	}
	for _, r := range s.Require {
		t, err := scope.parse(r.Value)
		if err != nil {
			return fmt.Errorf("require: %w", err)
		}
		if r.Reason == "" {
			return errors.New("require: a reason is needed")
		}
		s.required = append(s.required, &requirement{t, r.Reason})
	}
	return nil
}

func (m *Mapping) prepareRule(r *Rule) error {
	if r == nil {
		return errors.New("empty")
	}
	if r.source = m.Sources[r.From]; r.source == nil {
		return fmt.Errorf("there is no source %q", r.From)
	}
	r.source.driven = true
	sc := newScope(m, r.source)
	if err := sc.conditions(r.When); err != nil {
		return err
	}
	if r.Keep != "" && r.Keep != "last" && r.Keep != "first" {
		return fmt.Errorf("keep %q: first or last", r.Keep)
	}
	for i := range r.With {
		if err := sc.join(&r.With[i]); err != nil {
			return fmt.Errorf("with[%d]: %w", i, err)
		}
	}
	if err := sc.conditions(r.Where); err != nil {
		return err
	}
	if r.Reject != "" {
		if r.Type != "" || r.ID != "" || len(r.Fields) > 0 || r.Update {
			return errors.New("a rule that rejects makes nothing")
		}
		return nil
	}
	var err error
	if r.id, err = sc.parse(r.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	if r.ID == "" || r.Type == "" || (len(r.Fields) == 0 && r.Update) {
		return errors.New("type, id and fields are needed")
	}
	if r.Created != nil {
		if err := sc.value(r.Created); err != nil {
			return fmt.Errorf("created: %w", err)
		}
	}
	for name, v := range r.Fields {
		if v == nil {
			return fmt.Errorf("fields.%s: empty", name)
		}
		if err := sc.value(v); err != nil {
			return fmt.Errorf("fields.%s: %w", name, err)
		}
	}
	for _, name := range r.Watch {
		if r.Fields[name] == nil || r.Keep != "first" {
			return fmt.Errorf("watch %q: fields of a rule that keeps the first", name)
		}
	}
	if r.names, err = order(r.Fields); err != nil {
		return err
	}
	return nil
}

// order sorts fields by name, one that NotBefore leans on before those that
// lean on it, and fields that take notes last.
func order(fields map[string]*Value) ([]string, error) {
	var out []string
	state := map[string]int{}
	var visit func(string) error
	visit = func(name string) error {
		v := fields[name]
		switch {
		case v == nil:
			return fmt.Errorf("notBefore names %q, which is no field of the rule", name)
		case state[name] == 2:
			return nil
		case state[name] == 1:
			return fmt.Errorf("fields.%s: notBefore goes in a circle", name)
		}
		state[name] = 1
		if v.NotBefore != "" {
			if err := visit(v.NotBefore); err != nil {
				return err
			}
		}
		state[name] = 2
		out = append(out, name)
		return nil
	}
	for _, name := range sortedKeys(fields) {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// scope is what names in templates may stand for at one place of a mapping.
type scope struct {
	m      *Mapping
	source *Source
	lets   map[string]bool
	joined map[string]*Source
}

func newScope(m *Mapping, s *Source) *scope {
	sc := &scope{m: m, source: s, lets: map[string]bool{}, joined: map[string]*Source{}}
	for _, c := range s.computed {
		sc.lets[c.name] = true
	}
	return sc
}

// parse reads a template and notes the columns it needs.
func (sc *scope) parse(text string) (*template, error) {
	t, err := parseTemplate(text, sc.m)
	if err != nil {
		return nil, err
	}
	for _, name := range t.names() {
		as, column, dotted := strings.Cut(name, ".")
		switch {
		case sc.lets[name]:
		case dotted && sc.joined[as] != nil:
			s := sc.joined[as]
			if !slices.ContainsFunc(s.computed, func(c *computed) bool { return c.name == column }) {
				s.columns[column] = true
			}
		case dotted:
			return nil, fmt.Errorf("%q: nothing is looked up as %q", text, as)
		default:
			sc.source.columns[name] = true
		}
	}
	return t, nil
}

func (sc *scope) conditions(cs []Condition) error {
	for i := range cs {
		c := &cs[i]
		var err error
		if c.value, err = sc.parse(c.Value); err != nil {
			return fmt.Errorf("condition: %w", err)
		}
		n := 0
		for _, given := range []bool{c.In != nil, c.NotIn != nil, c.Set != nil} {
			if given {
				n++
			}
		}
		if c.Value == "" || n != 1 {
			return errors.New("a condition has a value and one of in, notIn and set")
		}
		for j := range c.In {
			c.In[j] = fold(c.In[j])
		}
		for j := range c.NotIn {
			c.NotIn[j] = fold(c.NotIn[j])
		}
	}
	return nil
}

func (sc *scope) join(j *Join) error {
	s := sc.m.Sources[j.Source]
	switch {
	case s == nil:
		return fmt.Errorf("there is no source %q", j.Source)
	case j.As == "" || strings.Contains(j.As, ".") || sc.joined[j.As] != nil:
		return fmt.Errorf("as %q: missing or taken", j.As)
	case j.Column == "":
		return errors.New("column is needed")
	}
	var err error
	if j.equals, err = sc.parse(j.Equals); err != nil {
		return err
	}
	s.columns[j.Column] = true
	if err := newScope(sc.m, s).conditions(j.Where); err != nil {
		return err
	}
	j.source = s
	sc.joined[j.As] = s
	return nil
}

func (sc *scope) value(v *Value) error {
	n := 0
	for _, given := range []bool{v.Template != "", v.First != nil, v.All != nil, v.Lines != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		return errors.New("one of value, first, all and lines is needed")
	}
	texts := slices.Concat(v.First, v.All)
	if v.Template != "" {
		texts = []string{v.Template}
	}
	for _, text := range texts {
		t, err := sc.parse(text)
		if err != nil {
			return err
		}
		v.templates = append(v.templates, t)
	}
	if v.Map != "" && sc.m.folded[v.Map] == nil {
		return fmt.Errorf("there is no value map %q", v.Map)
	}
	if v.Grid != "" {
		if v.grid = sc.m.Grids[v.Grid]; v.grid == nil {
			return fmt.Errorf("there is no grid %q", v.Grid)
		}
	}
	if v.Disorder != "" && v.Disorder != "drop" && v.Disorder != "reject" {
		return fmt.Errorf("disorder %q: drop or reject", v.Disorder)
	}
	if v.NotBefore == "" && (v.Note != "" || v.Disorder != "") {
		return errors.New("note and disorder go with notBefore")
	}
	if err := sc.conditions(v.When); err != nil {
		return err
	}
	if v.Lines != nil {
		return sc.lines(v.Lines)
	}
	return nil
}

func (sc *scope) lines(l *Lines) error {
	if l.source = sc.m.Sources[l.Source]; l.source == nil {
		return fmt.Errorf("there is no source %q", l.Source)
	}
	if l.Column == "" || l.Equals == "" || l.ID == "" {
		return errors.New("lines need column, equals and id")
	}
	l.source.columns[l.Column], l.source.driven = true, true
	var err error
	if l.equals, err = sc.parse(l.Equals); err != nil {
		return err
	}
	inner := newScope(sc.m, l.source)
	if l.id, err = inner.parse(l.ID); err != nil {
		return err
	}
	for name, v := range l.Fields {
		if v == nil || v.Lines != nil || v.NotBefore != "" {
			return fmt.Errorf("lines.%s: no plain value", name)
		}
		if err := inner.value(v); err != nil {
			return fmt.Errorf("lines.%s: %w", name, err)
		}
	}
	l.names = sortedKeys(l.Fields)
	return nil
}

// bind finds the types and fields that the rules speak of.
func (m *Mapping) bind(cat *entity.Catalogue) error {
	for i, r := range m.Rules {
		if r.Reject != "" {
			continue
		}
		if r.typ = cat.Type(r.Type); r.typ == nil {
			return fmt.Errorf("importer: rules[%d]: there is no type %q", i, r.Type)
		}
		for _, name := range r.names {
			if err := bindValue(r.Fields[name], r.typ.Field(name)); err != nil {
				return fmt.Errorf("importer: rules[%d], %s.%s: %w", i, r.Type, name, err)
			}
		}
		for _, name := range r.names {
			v := r.Fields[name]
			if v.NotBefore != "" && v.field.Kind != r.Fields[v.NotBefore].field.Kind {
				return fmt.Errorf("importer: rules[%d], %s.%s: notBefore compares times with times and dates with dates", i, r.Type, name)
			}
			if v.Note != "" {
				if f := r.typ.Field(v.Note); f == nil || f.Kind != entity.Text {
					return fmt.Errorf("importer: rules[%d], %s.%s: note names %q, which is no text with line breaks", i, r.Type, name, v.Note)
				}
			}
		}
		if r.Created != nil {
			r.Created.field = entity.At(1, "created")
		}
		for _, f := range r.typ.Fields {
			if f.Required && r.Fields[f.Name] == nil && !r.Update {
				return fmt.Errorf("importer: rules[%d]: a record of type %s needs %s", i, r.Type, f.Name)
			}
		}
	}
	return nil
}

func bindValue(v *Value, f *entity.Field) error {
	if f == nil {
		return errors.New("there is no such field")
	}
	v.field = f
	switch {
	case (f.Kind == entity.Lines) != (v.Lines != nil):
		return errors.New("lines go with a field of lines")
	case (f.Kind == entity.Money) != (v.Currency != ""):
		return errors.New("a currency goes with an amount of money")
	case (f.Kind == entity.Point) != (v.Grid != ""):
		return errors.New("a grid goes with a position")
	case v.All != nil && f.Kind != entity.Refs && f.Kind != entity.Strings:
		return errors.New("all is for sets")
	case v.NotBefore != "" && f.Kind != entity.Time && f.Kind != entity.Date:
		return errors.New("notBefore is for times")
	}
	if v.Lines == nil {
		return nil
	}
	for _, name := range v.Lines.names {
		var item *entity.Field
		for _, it := range f.Items {
			if it.Name == name {
				item = it
			}
		}
		if err := bindValue(v.Lines.Fields[name], item); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
