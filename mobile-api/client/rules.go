package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// RuleError says that a change breaks the rules the server sent, and so would be
// refused. It is told before anything is queued, with the code the server would
// use.
//
// The rules are those of the last contact, and judge by what the device shows,
// with everything that waits taken for done. Where the device can't know, nothing
// is refused: the server decides. The other way round the two can differ where
// somebody else has changed the record since, or the person's rights; where a
// change that waits will be refused; and where the server finds that two people
// changed the same field, which is a conflict and no refusal. EditAnyway queues
// such a change all the same.
type RuleError struct {
	Code    string // the server's stable code
	Message string // words for a person
	Field   string // the field at fault, "" for none
}

// Error implements error.
func (e *RuleError) Error() string {
	s := "client: " + e.Code + ": " + e.Message
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	return s
}

// EditOption changes how an edit is taken.
type EditOption uint8

// EditAnyway queues an edit that the rules refuse, for the server to decide.
const EditAnyway EditOption = 1

// Codes that the rules refuse with; they are the server's.
const (
	codeUnknownField    = "unknown_field"
	codeBadValue        = "bad_value"
	codeMissingField    = "missing_field"
	codeReadOnlyField   = "read_only_field"
	codeImmutableField  = "immutable_field"
	codeNotAllowed      = "not_allowed"
	codeFieldNotAllowed = "field_not_allowed"
	codeBadParameter    = "bad_parameter"
	codeWrongStatus     = "wrong_status"
	codeArchived        = "archived"
)

// rulesEvery is how old rules get before they are asked for again though no
// page told of others.
const rulesEvery = 24 * time.Hour

// rulesNote is what is known of the stored rules.
type rulesNote struct {
	Version string    `json:"version"`
	At      time.Time `json:"at"`    // of the last answer
	Owner   string    `json:"owner"` // whose they are
	// None: the server has no rules to give.
	None bool `json:"none,omitempty"`
}

// ruleSet is rules by type.
type ruleSet struct {
	version string
	types   map[string]*mobile.TypeRules
	others  []string
}

// Rules returns the rules of the last contact, nil where there are none yet.
func (p *Phone) Rules() (*mobile.Rules, error) {
	var raw []byte
	err := p.st.view(func(t tx) error {
		raw = bytes.Clone(t.get(bucketMeta, keyRules))
		return nil
	})
	if err != nil || raw == nil {
		return nil, err
	}
	out := new(mobile.Rules)
	return out, json.Unmarshal(raw, out)
}

// freshenRules asks for the rules where a page told of another version, or the
// last answer is old. told is "" where no page said. That they can't be had is
// no failure of what it happens beside: those there are go on to count.
func (p *Phone) freshenRules(ctx context.Context, told string) error {
	err := p.fetchRules(ctx, told)
	if err == nil || over(err) || ctx.Err() != nil {
		return err
	}
	p.log.Warn("the rules could not be had", "error", err)
	return nil
}

// earlyRules returns what has the rules fetched, where there are none or they are
// old, beside what goes on: a new device has them with its first records, and no
// round trip is spent on them at the end. What fails is left to freshenRules. join
// returns when nothing of it is under way any more.
func (p *Phone) earlyRules(ctx context.Context) (begin, join func()) {
	var under sync.WaitGroup
	begin = sync.OnceFunc(func() {
		under.Go(func() {
			if err := p.fetchRules(ctx, ""); err != nil {
				p.log.Debug("the rules could not be had early", "error", err)
			}
		})
	})
	return begin, under.Wait
}

// rulesRetry is how long to wait before rules are asked for again that a live
// page told of and that could not be had.
const rulesRetry = 30 * time.Second

// followRules keeps the rules those that pages tell of, until ctx ends. A server
// of an earlier version tells of none on a live page, so they are asked for once
// in any case: the same ones are not sent again.
func (p *Phone) followRules(ctx context.Context, told <-chan string) {
	version := "?"
	for {
		again := (<-chan time.Time)(nil)
		if err := p.fetchRules(ctx, version); err != nil {
			if over(err) || ctx.Err() != nil {
				return
			}
			p.log.Warn("the rules could not be had", "error", err)
			again = time.After(rulesRetry)
		}
		select {
		case version = <-told:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Phone) fetchRules(ctx context.Context, told string) error {
	var note rulesNote
	var d device
	err := p.st.view(func(t tx) error {
		var err error
		if d, err = readDevice(t); err != nil {
			return err
		}
		return getJSON(t, keyRulesNote, &note)
	})
	if err != nil {
		return err
	}
	emptied := p.emptied.Load()
	now := p.now().UTC()
	age := now.Sub(note.At)
	own := note.Owner == d.Owner
	if own && age >= 0 && age < rulesEvery && (told == "" || told == note.Version) {
		return nil
	}
	known := ""
	if own {
		known = note.Version
	}
	raw, err := p.get(ctx, "/sync/v1/rules", known)
	var e *Error
	switch {
	case errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed):
		note = rulesNote{At: now, Owner: d.Owner, None: true} // a server from before there were any
		raw = nil
	case err != nil:
		return err
	case raw == nil: // the same as before
		note.At = now
		return p.st.update(func(t tx) error { return putJSON(t, keyRulesNote, note) })
	default:
		var r mobile.Rules
		if err := json.Unmarshal(raw, &r); err != nil || r.Version == "" {
			return &Error{Status: http.StatusOK, Code: codeBadAnswer, Detail: "the rules can't be read"}
		}
		note = rulesNote{Version: r.Version, At: now, Owner: d.Owner}
	}
	return p.st.update(func(t tx) error {
		if p.emptied.Load() != emptied {
			return nil // they were somebody's of whom nothing may stay
		}
		if raw == nil {
			return errors.Join(t.del(bucketMeta, keyRules), putJSON(t, keyRulesNote, note))
		}
		return errors.Join(t.put(bucketMeta, keyRules, raw), putJSON(t, keyRulesNote, note))
	})
}

// dropRules forgets the rules, as they are another person's.
func dropRules(t tx) error {
	return errors.Join(t.del(bucketMeta, keyRules), t.del(bucketMeta, keyRulesNote))
}

// ruleSet returns the stored rules, nil where there are none of the device's
// owner. What was read once is kept.
func (p *Phone) ruleSet(t tx, d device) (*ruleSet, error) {
	var note rulesNote
	if err := getJSON(t, keyRulesNote, &note); err != nil || note.Version == "" || note.Owner != d.Owner {
		return nil, err
	}
	if r := p.rules.Load(); r != nil && r.version == note.Version {
		return r, nil
	}
	var r mobile.Rules
	if err := json.Unmarshal(t.get(bucketMeta, keyRules), &r); err != nil {
		return nil, fmt.Errorf("client: the stored rules are damaged: %w", err)
	}
	set := &ruleSet{version: note.Version, types: make(map[string]*mobile.TypeRules, len(r.Types)), others: r.Others}
	for i := range r.Types {
		set.types[r.Types[i].Type] = &r.Types[i]
	}
	p.rules.Store(set)
	return set, nil
}

// check judges a mutation that is about to be queued; nil where it may be, or
// there are no rules.
func (p *Phone) check(t tx, m *wire.Mutation) error {
	d, err := readDevice(t)
	if err != nil {
		return err
	}
	set, err := p.ruleSet(t, d)
	if err != nil || set == nil {
		return err
	}
	_, self, _ := strings.Cut(d.Owner, "/")
	j := &judge{t: t, rules: set, self: self}
	var refused *RuleError
	switch m.Op {
	case wire.OpCreate:
		refused = j.create(m)
	case wire.OpPatch:
		refused = j.patch(m)
	case wire.OpDelete:
		refused = j.remove(m)
	case wire.OpAction:
		refused = j.action(m)
	}
	if j.err != nil {
		return j.err
	}
	if refused != nil {
		return refused
	}
	return nil
}

// verdict is yes, no, or what the device can't know.
type verdict int8

const (
	no      verdict = -1
	unknown verdict = 0
	yes     verdict = 1
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// judge holds mutations against the rules, within one transaction.
type judge struct {
	t     tx
	rules *ruleSet
	self  string // id of the person
	err   error  // of the store
	depth int
}

// facts are what the device knows of a record.
type facts struct {
	typ, id string
	rules   *mobile.TypeRules
	fields  map[string]json.RawMessage
	// made: it was made here and the server has not answered, so that what is
	// not among its fields may have been filled in.
	made bool
	// moved are fields that queued actions change, blurred says that those may
	// have changed anything.
	moved   map[string]bool
	blurred bool
	status  string
	known   bool // the status is
}

// facts reads what the device shows of a record; nil where it has none.
func (j *judge) facts(typ, id string) *facts {
	r, ok, err := viewRecord(j.t, typ, id)
	if err != nil {
		j.err = errors.Join(j.err, err)
	}
	if err != nil || !ok {
		return nil
	}
	f := &facts{typ: typ, id: id, rules: j.rules.types[typ], fields: r.Fields, moved: map[string]bool{}}
	f.made = j.t.get(bucketRecords, recordKey(typ, id)) == nil
	if f.rules == nil {
		f.blurred = true
		return f
	}
	st := f.rules.Status
	if st != nil && !f.made {
		f.status, f.known = textOf(r.Fields[st.Field])
	}
	edits, err := editsByID(j.t, typ, id)
	if err != nil {
		j.err = errors.Join(j.err, err)
		return nil
	}
	for _, e := range edits[id] {
		if e.Op != wire.OpAction {
			continue
		}
		a := actionOf(f.rules, e.Action)
		if a == nil || a.Derived {
			f.blurred, f.known = true, false
			continue
		}
		for _, n := range a.Writes {
			f.moved[n] = true
		}
		if a.To != "" && st != nil {
			f.status, f.known = a.To, f.known || !f.made
		}
	}
	if f.known && st != nil && len(st.Follows) > 0 {
		err := eachEdit(j.t, func(e edit) error {
			if slices.Contains(st.Follows, e.Type) && e.Op != wire.OpPatch {
				f.known = false
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			j.err = errors.Join(j.err, err)
		}
	}
	return f
}

func actionOf(r *mobile.TypeRules, name string) *mobile.Action {
	for i := range r.Actions {
		if r.Actions[i].Name == name {
			return &r.Actions[i]
		}
	}
	return nil
}

func fieldOf(r *mobile.TypeRules, name string) *mobile.FieldRules {
	for i := range r.Fields {
		if r.Fields[i].Name == name {
			return &r.Fields[i]
		}
	}
	return nil
}

// value returns a field's value, null for none, and whether the device knows it.
func (f *facts) value(name string) (json.RawMessage, bool) {
	if f.rules != nil && f.rules.Status != nil && f.rules.Status.Field == name {
		b, err := json.Marshal(f.status)
		return b, err == nil && f.known
	}
	if f.blurred || f.moved[name] {
		return nil, false
	}
	if v := f.fields[name]; !isNull(v) {
		return v, true
	}
	fr := fieldOf(f.rules, name)
	return nil, !f.made && fr != nil && fr.Seen == mobile.SeenAlways
}

// held returns the values of the fields that people set, null for none, as far
// as the device knows them.
func (f *facts) held() map[string]json.RawMessage {
	if f.made {
		return nil
	}
	out := map[string]json.RawMessage{}
	for i := range f.rules.Fields {
		fr := &f.rules.Fields[i]
		v, known := f.value(fr.Name)
		if !known || fr.ReadOnly && (f.rules.Status == nil || f.rules.Status.Field != fr.Name) {
			continue
		}
		if v == nil {
			v = json.RawMessage("null")
		}
		out[fr.Name] = v
	}
	return out
}

// members are the texts in a value: of a set its entries, of a flag its word.
func members(raw json.RawMessage) []string {
	if isNull(raw) {
		return nil
	}
	if s, ok := textOf(raw); ok {
		return []string{s}
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	return []string{string(bytes.TrimSpace(raw))}
}

// maxScopeDepth bounds how far scopes are followed from record to record.
const maxScopeDepth = 8

// within judges whether a record lies in a scope.
func (j *judge) within(s *mobile.Scope, f *facts) verdict {
	if s == nil {
		return yes
	}
	if j.depth++; j.depth > maxScopeDepth {
		j.depth--
		return unknown
	}
	defer func() { j.depth-- }()
	switch s.Op {
	case mobile.ScopeAnd:
		out := yes
		for i := range s.Of {
			out = min(out, j.within(&s.Of[i], f))
		}
		return out
	case mobile.ScopeOr:
		out := no
		for i := range s.Of {
			out = max(out, j.within(&s.Of[i], f))
		}
		return out
	case mobile.ScopeSelf:
		if s.Field == "id" {
			return verdictOf(f.id == j.self)
		}
		v, known := f.value(s.Field)
		if !known {
			return unknown
		}
		return verdictOf(slices.Contains(members(v), j.self))
	case mobile.ScopeWhere:
		v, known := f.value(s.Field)
		if !known {
			return unknown
		}
		return verdictOf(slices.ContainsFunc(members(v), func(one string) bool { return slices.Contains(s.Values, one) }))
	case mobile.ScopeUnder:
		v, known := f.value(s.Field)
		if !known || len(s.Of) == 0 {
			return unknown
		}
		out := no
		for _, id := range members(v) {
			if above := j.facts(s.Type, id); above != nil {
				out = max(out, j.within(&s.Of[0], above))
			} else {
				out = max(out, unknown)
			}
		}
		return out
	}
	return unknown
}

// holds judges a condition.
func (j *judge) holds(c *mobile.Condition, f *facts) verdict {
	ref, field, far := strings.Cut(c.Path, ".")
	if !far {
		field = ref
	} else {
		v, known := f.value(ref)
		if !known {
			return unknown
		}
		fr := fieldOf(f.rules, ref)
		if fr == nil || len(fr.Targets) != 1 || isNull(v) {
			return unknown
		}
		if f = j.facts(fr.Targets[0], members(v)[0]); f == nil {
			return unknown
		}
	}
	v, known := f.value(field)
	if !known {
		return unknown
	}
	return verdictOf(slices.ContainsFunc(members(v), func(one string) bool { return slices.Contains(c.OneOf, one) }))
}

// may judges a verb by its grants, and returns those that may hold.
func (j *judge) may(grants []mobile.Grant, f *facts) []*mobile.Grant {
	var out []*mobile.Grant
	for i := range grants {
		g := &grants[i]
		a := j.within(g.Scope, f)
		for k := range g.While {
			a = min(a, j.holds(&g.While[k], f))
		}
		for k := range g.Unless {
			a = min(a, -j.holds(&g.Unless[k], f))
		}
		if a != no {
			out = append(out, g)
		}
	}
	return out
}

// reaches reports whether one of the grants reaches the field.
func reaches(grants []*mobile.Grant, name string) bool {
	return slices.ContainsFunc(grants, func(g *mobile.Grant) bool {
		return !g.None && (g.Fields == nil || slices.Contains(g.Fields, name))
	})
}

func refusal(code, field, words string) *RuleError {
	return &RuleError{Code: code, Field: field, Message: words}
}

// notYours refuses what nothing gives the person. What they would have a right
// to in another place is told in words.
func notYours(grants []mobile.Grant) *RuleError {
	words := "You may not do this."
	var reach []string
	for i := range grants {
		if r := grants[i].Reach; !slices.Contains(reach, r) {
			reach = append(reach, r)
		}
	}
	if len(reach) > 0 {
		words = "You may not do this here, or not any more. You may with: " + strings.Join(reach, "; ") + "."
	}
	return refusal(codeNotAllowed, "", words)
}

func noField(name string) *RuleError {
	return refusal(codeUnknownField, name, fmt.Sprintf("There is no field %q.", name))
}

func (j *judge) create(m *wire.Mutation) *RuleError {
	r := j.rules.types[m.Type]
	switch {
	case r == nil && slices.Contains(j.rules.others, m.Type):
		return notYours(nil)
	case r == nil:
		return refusal(codeBadParameter, "type", "There is no such type of record.")
	case len(r.Create) == 0 && !r.Through:
		return notYours(nil)
	}
	given := map[string]bool{}
	for _, name := range sortedKeys(m.Fields) {
		f := fieldOf(r, name)
		if f == nil {
			return noField(name)
		}
		void, refused := fits(f, m.Fields[name])
		if refused != nil {
			return refused
		}
		given[name] = !void
	}
	for i := range r.Fields {
		if _, there := m.Fields[r.Fields[i].Name]; there && r.Fields[i].ReadOnly {
			return refusal(codeReadOnlyField, r.Fields[i].Name, "This field is set by the system.")
		}
	}
	if !r.Through {
		grants := j.may(r.Create, &facts{typ: m.Type, id: m.ID, rules: r, fields: m.Fields, made: true})
		if len(grants) == 0 {
			return notYours(r.Create)
		}
		for i := range r.Fields {
			if name := r.Fields[i].Name; m.Fields[name] != nil && !reaches(grants, name) {
				return refusal(codeFieldNotAllowed, name, "You may not fill in this field.")
			}
		}
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Required && !f.Filled && !f.ReadOnly && !given[f.Name] {
			return refusal(codeMissingField, f.Name, f.Name+" is required.")
		}
	}
	return nil
}

func (j *judge) patch(m *wire.Mutation) *RuleError {
	f := j.facts(m.Type, m.ID)
	if f == nil || f.rules == nil {
		return nil
	}
	r := f.rules
	grants := j.may(r.Edit, f)
	if len(grants) == 0 {
		return notYours(r.Edit)
	}
	void := map[string]bool{}
	for _, name := range sortedKeys(m.Fields) {
		fr := fieldOf(r, name)
		if fr == nil || fr.Seen == "" {
			return noField(name)
		}
		var refused *RuleError
		if raw := bytes.TrimSpace(m.Fields[name]); (fr.Kind == "refs" || fr.Kind == "strings") && len(raw) > 0 && raw[0] == '{' {
			refused = fitsChange(fr, raw)
		} else {
			held, _ := f.value(name)
			void[name], refused = fitsOver(fr, raw, held)
		}
		if refused != nil {
			return refused
		}
	}
	if v, known := f.value("archivedAt"); known && !isNull(v) {
		return refusal(codeArchived, "", "The record is archived. Restore it first.")
	}
	for i := range r.Fields {
		fr := &r.Fields[i]
		v, changed := m.Fields[fr.Name]
		if !changed {
			continue
		}
		now, known := f.value(fr.Name)
		switch {
		case fr.ReadOnly:
			return refusal(codeReadOnlyField, fr.Name, "This field is set by the system.")
		case !reaches(grants, fr.Name):
			return refusal(codeFieldNotAllowed, fr.Name, "You may not change this field.")
		case fr.Immutable && known && (isNull(now) != void[fr.Name] || !isNull(now) && differ(fr, now, v)):
			return refusal(codeImmutableField, fr.Name, "This field can't be changed once the record exists.")
		}
	}
	for i := range r.Fields {
		fr := &r.Fields[i]
		if now, known := f.value(fr.Name); fr.Required && void[fr.Name] && known && !isNull(now) {
			return refusal(codeMissingField, fr.Name, fr.Name+" is required.")
		}
	}
	return nil
}

func (j *judge) remove(m *wire.Mutation) *RuleError {
	f := j.facts(m.Type, m.ID)
	if f == nil || f.rules == nil {
		return nil
	}
	if f.rules.NoDelete || len(j.may(f.rules.Delete, f)) == 0 {
		return notYours(f.rules.Delete)
	}
	return nil
}

func (j *judge) action(m *wire.Mutation) *RuleError {
	f := j.facts(m.Type, m.ID)
	if f == nil || f.rules == nil {
		return nil
	}
	a := actionOf(f.rules, m.Action)
	if a == nil {
		return refusal(codeBadParameter, "action", "There is no such action.")
	}
	if len(j.may(a.May, f)) == 0 {
		return notYours(a.May)
	}
	given := map[string]bool{}
	for _, name := range sortedKeys(m.Args) {
		i := slices.IndexFunc(a.Args, func(f mobile.FieldRules) bool { return f.Name == name })
		if i < 0 {
			return refusal(codeUnknownField, name, fmt.Sprintf("%s takes no %q.", a.Name, name))
		}
		void, refused := fits(&a.Args[i], m.Args[name])
		if refused != nil {
			return refused
		}
		given[name] = !void
	}
	for i := range a.Args {
		if arg := &a.Args[i]; arg.Required && !given[arg.Name] {
			return refusal(codeMissingField, arg.Name, arg.Name+" is required.")
		}
	}
	if len(a.Lacks) > 0 {
		return refusal(codeMissingField, a.Lacks[0], a.Lacks[0]+" is required.")
	}
	if v, known := f.value("archivedAt"); known && !isNull(v) && !a.WhenArchived {
		return refusal(codeArchived, "", "The record is archived. Restore it first.")
	}
	if len(a.From) > 0 && f.known && !slices.Contains(a.From, f.status) {
		return refusal(codeWrongStatus, "", fmt.Sprintf("It is %s; %s is for what is %s.", f.status, a.Name, strings.Join(a.From, ", ")))
	}
	return nil
}
