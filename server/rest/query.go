package rest

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/server/edge"
	"satchel/sync/column"
)

// Limits of a list request.
const (
	defaultLimit  = 50
	maxLimit      = 200
	maxFilter     = 4000 // bytes
	maxConditions = 20
	maxChoices    = 200 // values of an in
	maxSorts      = column.MaxSorts
	maxSearch     = 200 // bytes
	maxTerms      = 10
	maxCursor     = 4000
)

// Pseudo-fields that filter and sort know beside a type's own.
const (
	noID        = column.NoID
	noUpdatedAt = column.NoUpdatedAt
)

var pseudo = map[string]*entity.Field{
	"id":        {No: noID, Name: "id", Kind: entity.Ref},
	"updatedAt": {No: noUpdatedAt, Name: "updatedAt", Kind: entity.Time},
}

func badParameter(name, format string, args ...any) error {
	return fault.Newf(fault.BadParameter, format, args...).OnField(name)
}

// unknownField is the refusal of a name that no field the person may see has;
// whether there is such a field makes no difference.
func unknownField(name string) error {
	return fault.Newf(fault.UnknownField, "There is no field %q.", name).OnField(name)
}

// parameters reads the query string: each of the names at most once, and no
// other.
func parameters(c *fiber.Ctx, names ...string) (map[string]string, error) {
	args := c.Context().QueryArgs()
	if args.Len() == 0 {
		return nil, nil
	}
	out := make(map[string]string, args.Len())
	var err error
	for k, v := range args.All() {
		name, value := string(k), string(v)
		switch _, twice := out[name]; {
		case err != nil:
		case !slices.Contains(names, name):
			err = badParameter("", "There is no such parameter; there are: %s.", strings.Join(names, ", "))
		case twice:
			err = badParameter(name, "%s may be given once.", name)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			err = badParameter(name, "%s is no text.", name)
		}
		out[name] = value
	}
	return out, err
}

// query is one list request against one type.
type query struct {
	t        *entity.Type
	known    entity.Mask
	limit    int
	archived bool
	where    []condition
	sorts    []sortTerm
	terms    [][]byte // of q, folded
	cursor   string
	// binding is what a cursor belongs to, besides the request itself.
	sealer  *sealer
	binding string
	request string

	// parent, where not 0, and the fields by which records stand beneath it.
	parent ident.Ordinal
	by     []*entity.Field

	lookup lookup
}

type sortTerm struct {
	field *entity.Field
	down  bool
}

// op is a comparison of the filter language.
type op string

const (
	opEq       op = "eq"
	opNe       op = "ne"
	opLt       op = "lt"
	opLe       op = "le"
	opGt       op = "gt"
	opGe       op = "ge"
	opIn       op = "in"
	opContains op = "contains"
	opNull     op = "null"
)

var ops = []op{opEq, opNe, opLt, opLe, opGt, opGe, opIn, opContains, opNull}

// condition is one comparison, its values normalised as they are stored.
type condition struct {
	field  *entity.Field
	op     op
	values []entity.Value // one, or those of an in
	key    []byte         // of lt, le, gt, ge: the value's sort key
	text   []byte         // of contains on text, folded
	null   bool           // of null: whether there must be no value
}

// savedSearch is among a list's parameters the search of the saved filter that
// it runs; nobody can send it.
const savedSearch = "saved q"

// parse reads a list's parameters; known is the mask of the fields that the
// person may know of.
func parse(t *entity.Type, known entity.Mask, p map[string]string) (*query, error) {
	q := &query{t: t, known: known, limit: defaultLimit, cursor: p["cursor"]}
	if s, ok := p["limit"]; ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != s {
			return nil, badParameter("limit", "limit must be 1 to %d.", maxLimit)
		}
		q.limit = n
	}
	switch s, ok := p["archived"]; {
	case ok && s != "true" && s != "false":
		return nil, badParameter("archived", "archived must be true or false.")
	default:
		q.archived = s == "true"
	}
	if err := q.parseSort(p["sort"]); err != nil {
		return nil, err
	}
	if err := q.parseFilter(p["filter"]); err != nil {
		return nil, err
	}
	for _, search := range []string{p["q"], p[savedSearch]} {
		if err := q.parseSearch(search); err != nil {
			return nil, err
		}
	}
	if len(q.cursor) > maxCursor {
		return nil, badCursor()
	}
	q.request = strings.Join([]string{p["sort"], p["filter"], p["q"], p[savedSearch], strconv.FormatBool(q.archived)}, "\x00")
	return q, nil
}

// bind says whose cursors this request makes and takes.
func (q *query) bind(s *sealer, caller *edge.Caller, beneath string) {
	q.sealer = s
	q.binding = strings.Join([]string{
		string(caller.Tenant.ID()), string(caller.Employee), q.t.Name, beneath, q.request,
	}, "\x00")
	if mutant.On(mutant.CursorOfAnybody) {
		q.binding = q.t.Name
	}
}

// field finds a field by its name among those known.
func (q *query) field(name string) (*entity.Field, error) {
	if f := pseudo[name]; f != nil {
		return f, nil
	}
	f := q.t.Field(name)
	if f == nil || (!q.known.Has(f.No) && !mutant.On(mutant.SortByMasked)) {
		return nil, unknownField(name)
	}
	return f, nil
}

func (q *query) parseSort(s string) error {
	if s == "" {
		return nil
	}
	for one := range strings.SplitSeq(s, ",") {
		name, down := strings.CutPrefix(one, "-")
		f, err := q.field(name)
		if err != nil {
			return err
		}
		switch f.Kind {
		case entity.Text, entity.Refs, entity.Strings, entity.Point, entity.Lines:
			return badParameter("sort", "%s can't be sorted by.", name)
		}
		if slices.ContainsFunc(q.sorts, func(o sortTerm) bool { return o.field == f }) || len(q.sorts) == maxSorts {
			return badParameter("sort", "sort takes up to %d different fields.", maxSorts)
		}
		q.sorts = append(q.sorts, sortTerm{f, down})
	}
	return nil
}

// parseSearch adds the words of a search to those that each record must have.
func (q *query) parseSearch(s string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxSearch {
		return badParameter("q", "q may have at most %d bytes.", maxSearch)
	}
	words := strings.Fields(fold(s))
	if len(words) > maxTerms {
		return badParameter("q", "q may have at most %d words.", maxTerms)
	}
	for _, term := range words {
		if !slices.ContainsFunc(q.terms, func(t []byte) bool { return string(t) == term }) {
			q.terms = append(q.terms, []byte(term))
		}
	}
	return nil
}

// searched is the mask of the fields that q looks into.
func (q *query) searched() entity.Mask {
	var m entity.Mask
	for _, f := range q.t.Fields {
		if f.Search && q.known.Has(f.No) {
			m |= 1 << f.No
		}
	}
	return m
}

// parseFilter reads conditions joined by "and": field op value, where value is
// a bare word (of a choice also several), or a text in single or double quotes with
// the quote and \\ written with a backslash, a list of them in
// parentheses for in, and true, false or nothing for null.
func (q *query) parseFilter(s string) error {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	if len(s) > maxFilter {
		return badParameter("filter", "filter may have at most %d bytes.", maxFilter)
	}
	sc := &words{rest: s}
	for {
		if len(q.where) == maxConditions {
			return badParameter("filter", "filter takes up to %d conditions.", maxConditions)
		}
		name, quoted, err := sc.word()
		if err != nil {
			return err
		}
		if name == "" || quoted {
			return badParameter("filter", "A field's name is missing in the filter.")
		}
		f, err := q.field(name)
		if err != nil {
			return err
		}
		word, quoted, err := sc.word()
		if err != nil {
			return err
		}
		o := op(word)
		if quoted || !slices.Contains(ops, o) {
			return badParameter("filter", "A comparison is missing after %s; there are: eq, ne, lt, le, gt, ge, in, contains, null.", name)
		}
		cond, err := q.condition(sc, f, o)
		if err != nil {
			return err
		}
		q.where = append(q.where, cond)
		if sc.end() {
			return nil
		}
		if word, quoted, err = sc.word(); err != nil || quoted || word != "and" {
			return badParameter("filter", "Conditions are joined by and.")
		}
	}
}

func (q *query) condition(sc *words, f *entity.Field, o op) (condition, error) {
	c := condition{field: f, op: o, null: true}
	switch o {
	case opNull:
		rest := *sc
		if w, quoted, err := rest.word(); err == nil && !quoted && (w == "true" || w == "false") {
			*sc, c.null = rest, w == "true"
		}
		return c, nil
	case opIn:
		list, err := sc.list()
		if err != nil {
			return c, err
		}
		for _, one := range list {
			v, err := literal(f, o, one)
			if err != nil {
				return c, err
			}
			c.values = append(c.values, v)
		}
		return c, nil
	}
	read := sc.word
	if f.Kind == entity.Enum {
		read = sc.choice
	}
	word, quoted, err := read()
	if err != nil {
		return c, err
	}
	if word == "" && !quoted {
		return c, badParameter("filter", "A value is missing after %s %s.", f.Name, o)
	}
	if o == opContains && (f.Kind == entity.String || f.Kind == entity.Text) {
		if c.text = []byte(fold(word)); len(c.text) == 0 {
			return c, badParameter("filter", "contains needs a text.")
		}
		return c, nil
	}
	v, err := literal(f, o, word)
	if err != nil {
		return c, err
	}
	c.values = []entity.Value{v}
	if o == opLt || o == opLe || o == opGt || o == opGe {
		if c.key = appendKey(nil, f, v); c.key == nil {
			return c, badParameter("filter", "%s can't be compared by %s.", f.Name, o)
		}
	}
	return c, nil
}

// literal turns a word of the filter into a value as it is stored.
func literal(f *entity.Field, o op, word string) (entity.Value, error) {
	fits := func(kinds ...op) bool { return slices.Contains(kinds, o) }
	as := f
	raw := []byte(word)
	switch f.Kind {
	case entity.Point, entity.Lines:
		return nil, badParameter("filter", "%s can only be compared by null.", f.Name)
	case entity.Refs, entity.Strings:
		if !fits(opEq, opNe, opIn, opContains) {
			return nil, badParameter("filter", "%s can't be compared by %s.", f.Name, o)
		}
		if word == "" || (f.Kind == entity.Refs && !ident.RecordID(word).Valid()) {
			return nil, badParameter("filter", "%q does not fit %s.", word, f.Name)
		}
		return entity.StringValue(word), nil
	case entity.Ref, entity.Bool:
		if !fits(opEq, opNe, opIn) {
			return nil, badParameter("filter", "%s can't be compared by %s.", f.Name, o)
		}
	case entity.Money:
		// Sums of money compare by their minor units.
		as = &entity.Field{Name: f.Name, Kind: entity.Int}
	case entity.Time:
		if d, err := time.Parse(time.DateOnly, word); err == nil {
			word = d.Format(time.RFC3339)
		}
	case entity.String, entity.Text:
		as = &entity.Field{Name: f.Name, Kind: entity.Text}
	}
	if o == opContains {
		return nil, badParameter("filter", "%s can't be compared by contains.", f.Name)
	}
	switch as.Kind {
	case entity.Int, entity.Number, entity.Bool:
		if !numeral(word) && as.Kind != entity.Bool {
			return nil, badParameter("filter", "%q does not fit %s.", word, f.Name)
		}
	default:
		raw = entity.StringValue(word)
	}
	v, err := as.Recall(raw) // what is stored is found, though it be refused by now
	if err != nil || (v == nil && word != "") {
		return nil, badParameter("filter", "%q does not fit %s.", word, f.Name)
	}
	return v, nil
}

// numeral reports whether a word is a plain decimal number.
func numeral(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") != s && strings.Trim(s, "-0123456789.eE+") == ""
}

// words splits a filter.
type words struct{ rest string }

func (w *words) end() bool {
	w.rest = strings.TrimLeft(w.rest, " \t")
	return w.rest == ""
}

// word returns the next bare word or quoted text, "" bare at the end.
func (w *words) word() (text string, quoted bool, err error) {
	if w.end() {
		return "", false, nil
	}
	end := w.rest[0]
	if end != '"' && end != '\'' {
		i := strings.IndexAny(w.rest, " \t(),\"")
		if i < 0 {
			i = len(w.rest)
		}
		text, w.rest = w.rest[:i], w.rest[i:]
		return text, false, nil
	}
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		switch c := w.rest[i]; c {
		case end:
			w.rest = w.rest[i+1:]
			return b.String(), true, nil
		case '\\':
			i++
			if i == len(w.rest) || (w.rest[i] != end && w.rest[i] != '\\') {
				return "", false, badParameter("filter", `In a quoted text only the quote and \\ are written with a backslash.`)
			}
			b.WriteByte(w.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false, badParameter("filter", "A quoted text has no end.")
}

// choice returns a quoted text, or the bare words up to the next "and": a
// status of two words needs no quotes, since what is no choice is refused.
func (w *words) choice() (text string, quoted bool, err error) {
	text, quoted, err = w.word()
	if err != nil || quoted || text == "" || text == "and" {
		return text, quoted, err
	}
	for {
		ahead := *w
		next, q, err := ahead.word()
		if err != nil || q || next == "" || next == "and" {
			return text, false, nil // what stands there is judged where it is read
		}
		text += " " + next
		*w = ahead
	}
}

// list returns the words of a list in parentheses.
func (w *words) list() ([]string, error) {
	bad := badParameter("filter", "in takes a list like (a, \"b c\") of up to %d values.", maxChoices)
	if w.end() || w.rest[0] != '(' {
		return nil, bad
	}
	w.rest = w.rest[1:]
	var out []string
	for {
		text, quoted, err := w.word()
		if err != nil {
			return nil, err
		}
		if (text == "" && !quoted) || len(out) == maxChoices || w.end() {
			return nil, bad
		}
		out = append(out, text)
		sep := w.rest[0]
		w.rest = w.rest[1:]
		switch sep {
		case ')':
			return out, nil
		case ',':
		default:
			return nil, bad
		}
	}
}

// fold is how texts are compared without regard to case.
func fold(s string) string { return column.Fold(s) }

// appendKey appends a value's sort key: keys compare as bytes like the values
// do. nil (for dst nil) where the kind has no order; null has no key.
func appendKey(dst []byte, f *entity.Field, v entity.Value) []byte {
	return column.AppendKey(dst, f, v)
}

// amount is the minor units of a sum of money, or a plain integer.
func amount(v entity.Value) int64 { return column.Amount(v) }
