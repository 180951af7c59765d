package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"satchel/internal/strictjson"
	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// titles are the fields that name a record to a person, the best first.
var titles = []string{"name", "title", "subject", "number", "text", "email"}

// columns are further fields worth a column in a list, as far as the type has
// them.
var columns = []string{"status", "priority", "kind", "assignee", "scheduledStart", "quantity", "client", "job", "activity", "ticket", "product"}

const (
	maxColumns = 5
	maxCell    = 40 // characters of a value in a table on a terminal
	maxNamed   = 10 // records named one by one after a sync
)

func (f *phone) listCommand() *cobra.Command {
	var where []string
	cmd := f.command("list [TYPE]", "List the records of a type; without one, how many there are of each", cobra.MaximumNArgs(1),
		func(r *phoneRun, args []string) error {
			if len(args) == 0 {
				if len(where) > 0 {
					return usageError{errors.New("--where needs a TYPE")}
				}
				return f.counts(r)
			}
			return f.list(r, args[0], where)
		})
	cmd.Flags().StringArrayVar(&where, "where", nil, "FIELD=VALUE that a record must have; may be given several times")
	return cmd
}

func (f *phone) counts(r *phoneRun) error {
	types, err := r.Types()
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, t := range types {
		list, err := r.List(t, client.Root)
		if err != nil {
			return err
		}
		counts[t] = len(list)
	}
	if f.json {
		return r.print(counts)
	}
	return r.table(func(row func(...string)) {
		for _, t := range types {
			row(t, fmt.Sprint(counts[t]))
		}
	})
}

func (f *phone) list(r *phoneRun, typ string, where []string) error {
	want, err := pairs(where)
	if err != nil {
		return err
	}
	match := func(rec client.Record) bool {
		if rec.Context {
			return false
		}
		for field, v := range want {
			if !equal(rec.Fields[field], v) {
				return false
			}
		}
		return true
	}
	list, err := r.List(typ, match)
	if err != nil {
		return err
	}
	if f.json {
		out := make([]recordJSON, len(list))
		for i := range list {
			out[i] = jsonRecord(list[i])
		}
		return r.print(out)
	}
	fields := chosen(list)
	return r.table(func(row func(...string)) {
		row(append([]string{"ID"}, append(upper(fields), "PENDING")...)...)
		for _, rec := range list {
			cells := []string{rec.ID}
			for _, field := range fields {
				cells = append(cells, r.cell(rec.Fields[field]))
			}
			mark := ""
			if rec.Pending {
				mark = "yes"
			}
			row(append(cells, mark)...)
		}
	})
}

// recordJSON is a record as --json prints it.
type recordJSON struct {
	Type    string                     `json:"type"`
	ID      string                     `json:"id"`
	Rev     string                     `json:"rev,omitempty"`
	Context bool                       `json:"context,omitempty"`
	Pending bool                       `json:"pending,omitempty"`
	Fields  map[string]json.RawMessage `json:"fields"`
}

func jsonRecord(r client.Record) recordJSON {
	return recordJSON{r.Type, r.ID, r.Rev, r.Context, r.Pending, r.Fields}
}

// equal compares a field with a value of the command line: as JSON, or as the
// text that it shows.
func equal(have json.RawMessage, want any) bool {
	if have == nil {
		have = json.RawMessage("null")
	}
	raw, err := json.Marshal(want)
	if err != nil {
		return false
	}
	a, errA := strictjson.Canonical(have)
	b, errB := strictjson.Canonical(raw)
	return errA == nil && errB == nil && string(a) == string(b) || text(have) == strings.Trim(string(raw), `"`)
}

// chosen are the columns of a list: one that names the record, and others that
// some record has.
func chosen(list []client.Record) []string {
	has := func(field string) bool {
		return slices.ContainsFunc(list, func(r client.Record) bool { return text(r.Fields[field]) != "" })
	}
	var out []string
	if i := slices.IndexFunc(titles, has); i >= 0 {
		out = append(out, titles[i])
	}
	for _, c := range columns {
		if len(out) < maxColumns && has(c) {
			out = append(out, c)
		}
	}
	return out
}

func upper(fields []string) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = strings.ToUpper(f)
	}
	return out
}

// text is a value as a person reads it, "" for null.
func text(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

// cell is a value on one line, cut where a terminal shows it.
func (r *phoneRun) cell(raw json.RawMessage) string {
	s := strings.Join(strings.Fields(printable(text(raw))), " ")
	if c := []rune(s); r.wide && len(c) > maxCell {
		return string(c[:maxCell-1]) + "…"
	}
	return s
}

// printable takes out what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return -1
		}
		return c
	}, s)
}

// table prints rows: in columns on a terminal, with single tabs elsewhere.
func (r *phoneRun) table(fill func(row func(cells ...string))) error {
	var b strings.Builder
	fill(func(cells ...string) { b.WriteString(strings.Join(cells, "\t") + "\n") })
	if !r.wide {
		_, err := fmt.Fprint(r.out, b.String())
		return err
	}
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprint(w, b.String()); err != nil {
		return err
	}
	return w.Flush()
}

func (f *phone) show(r *phoneRun, args []string) error {
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	rec, err := r.Get(ref.Type, ref.ID)
	if err != nil {
		return err
	}
	if f.json {
		return r.print(jsonRecord(rec))
	}
	fmt.Fprintln(r.out, refText(ref))
	if rec.Context {
		fmt.Fprintln(r.out, "(here only to be shown beneath what is pinned)")
	}
	if rec.Pending {
		fmt.Fprintln(r.out, "(with changes that the server has not confirmed)")
	}
	width := 0
	for name := range rec.Fields {
		width = max(width, len(name))
	}
	for _, name := range slices.Sorted(maps.Keys(rec.Fields)) {
		if s := printable(text(rec.Fields[name])); s != "" {
			fmt.Fprintf(r.out, "  %-*s  %s\n", width, name, strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", width+4)))
		}
	}
	return nil
}

// mutationText says what somebody did.
func mutationText(m *wire.Mutation) string {
	ref := m.Type + "/" + m.ID
	if m.ID == "" {
		ref = m.Type + " (taken away since)"
	}
	fields := strings.Join(slices.Sorted(maps.Keys(m.Fields)), ", ")
	switch m.Op {
	case wire.OpCreate:
		return "create " + ref
	case wire.OpPatch:
		return strings.TrimSpace("edit " + ref + " " + fields)
	case wire.OpDelete:
		return "delete " + ref
	}
	return m.Action + " " + ref
}

func problemText(p *client.Problem) string {
	why := p.Result.Message
	if why == "" {
		why = "The server gave no reason."
	}
	s := fmt.Sprintf("%s was refused: %s [%s]", mutationText(&p.Mutation), printable(why), p.Result.Code)
	if p.Result.Status == wire.Conflict {
		s = fmt.Sprintf("%s is in conflict: %s", mutationText(&p.Mutation), printable(why))
	}
	for _, c := range p.Result.Conflicts {
		s += fmt.Sprintf("\n   %s: you wrote %s, the server keeps %s", c.Field, printable(string(c.Mine)), printable(string(c.Theirs)))
	}
	return s
}

// held is what the device shows, by record, with the revision.
type held map[wire.Ref]string

func (r *phoneRun) held() (held, error) {
	out := held{}
	types, err := r.Types()
	if err != nil {
		return nil, err
	}
	for _, t := range types {
		list, err := r.List(t, nil)
		if err != nil {
			return nil, err
		}
		for _, rec := range list {
			out[wire.Ref{Type: t, ID: rec.ID}] = rec.Rev
		}
	}
	return out, nil
}

// difference is what a sync brought, by name.
type difference struct {
	Arrived []wire.Ref `json:"arrived"`
	Changed []wire.Ref `json:"changed"`
	Left    []wire.Ref `json:"left"`
}

// compare leaves out what only existed here, unsent: that is no news.
func compare(before, after held) difference {
	d := difference{Arrived: []wire.Ref{}, Changed: []wire.Ref{}, Left: []wire.Ref{}}
	for ref, rev := range after {
		old, had := before[ref]
		switch {
		case !had:
			d.Arrived = append(d.Arrived, ref)
		case old != rev && old != "":
			d.Changed = append(d.Changed, ref)
		}
	}
	for ref, rev := range before {
		if _, has := after[ref]; !has && rev != "" {
			d.Left = append(d.Left, ref)
		}
	}
	for _, refs := range [][]wire.Ref{d.Arrived, d.Changed, d.Left} {
		slices.SortFunc(refs, func(a, b wire.Ref) int { return strings.Compare(refText(a), refText(b)) })
	}
	return d
}

func (f *phone) sync(r *phoneRun, _ []string) error { return r.exchange(true) }

func (f *phone) push(r *phoneRun, _ []string) error { return r.exchange(false) }

// exchange syncs and tells what became of the sent changes and, where asked
// for, what came.
func (r *phoneRun) exchange(whole bool) error {
	before, err := r.held()
	if err != nil {
		return err
	}
	rep, syncErr := r.Sync(r.ctx)
	after, err := r.held()
	if err != nil {
		return errors.Join(syncErr, err)
	}
	diff := compare(before, after)
	problems, err := r.Problems()
	if err != nil {
		return errors.Join(syncErr, err)
	}
	bad := 0
	for _, res := range rep.Results {
		if res.Status != wire.Applied {
			bad++
		}
	}
	if r.f.json {
		out := map[string]any{"results": append([]wire.Result{}, rep.Results...), "complete": rep.Complete}
		if whole {
			out["arrived"], out["changed"], out["left"] = diff.Arrived, diff.Changed, diff.Left
		}
		if err := r.print(out); err != nil {
			return err
		}
	} else {
		r.tellResults(rep.Results, problems)
		if whole {
			r.tell("arrived", diff.Arrived)
			r.tell("changed", diff.Changed)
			r.tell("left", diff.Left)
			if len(rep.Healed) > 0 {
				fmt.Fprintf(r.out, "Mended what differed from the server: %s.\n", strings.Join(rep.Healed, ", "))
			}
			if rep.Complete {
				fmt.Fprintf(r.out, "Up to date: %s on this device.\n", some(len(after), "record"))
			}
			if s, err := r.Status(); err == nil && s.MobileEnded {
				fmt.Fprintln(r.out, "The Mobile module is no longer among your roles, so nothing of it is carried any more.")
			}
		} else if len(rep.Results) == 0 && syncErr == nil {
			fmt.Fprintln(r.out, "There was nothing to send.")
		}
	}
	if syncErr != nil {
		return syncErr
	}
	if bad > 0 {
		return quietError{errors.New("some changes were not taken")}
	}
	return nil
}

func (r *phoneRun) tellResults(results []wire.Result, problems []client.Problem) {
	if len(results) == 0 {
		return
	}
	n := map[string]int{}
	for _, res := range results {
		n[res.Status]++
	}
	var parts []string
	for _, s := range []struct{ status, words string }{{wire.Applied, "applied"}, {wire.Conflict, "in conflict"}, {wire.Refused, "refused"}} {
		if n[s.status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s.status], s.words))
		}
	}
	fmt.Fprintf(r.out, "Sent %s: %s.\n", some(len(results), "change"), strings.Join(parts, ", "))
	for _, res := range results {
		if res.Status == wire.Applied {
			continue
		}
		for i := range slices.Backward(problems) {
			if problems[i].Result.N == res.N {
				fmt.Fprintln(r.out, "  "+problemText(&problems[i]))
				break
			}
		}
	}
}

// tell names what happened to records, and counts them by type where there are
// many.
func (r *phoneRun) tell(did string, refs []wire.Ref) {
	if len(refs) == 0 {
		return
	}
	if len(refs) > maxNamed {
		byType := map[string]int{}
		for _, ref := range refs {
			byType[ref.Type]++
		}
		var parts []string
		for _, t := range slices.Sorted(maps.Keys(byType)) {
			parts = append(parts, fmt.Sprintf("%d %s", byType[t], t))
		}
		fmt.Fprintf(r.out, "%s %s: %s.\n", some(len(refs), "record"), did, strings.Join(parts, ", "))
		return
	}
	for _, ref := range refs {
		fmt.Fprintf(r.out, "%s %s%s\n", did, refText(ref), r.title(ref))
	}
}

// title is a record's name after a blank, "" where it has none.
func (r *phoneRun) title(ref wire.Ref) string {
	rec, err := r.Get(ref.Type, ref.ID)
	if err != nil {
		return ""
	}
	for _, field := range titles {
		if s := r.cell(rec.Fields[field]); s != "" {
			return "  " + s
		}
	}
	return ""
}

func (f *phone) verify(r *phoneRun, _ []string) error {
	healed, err := r.Verify(r.ctx)
	if err != nil {
		return err
	}
	if f.json {
		return r.print(map[string]any{"ok": len(healed) == 0, "healed": append([]string{}, healed...)})
	}
	if len(healed) == 0 {
		_, err = fmt.Fprintln(r.out, "Everything on this device is as the server has it.")
		return err
	}
	_, err = fmt.Fprintf(r.out, "These differed and were fetched anew: %s.\n", strings.Join(healed, ", "))
	return err
}

// followed is one line of follow --json.
type followed struct {
	At      time.Time    `json:"at"`
	What    string       `json:"what"` // connected, offline, arrived, changed, left, caught-up, or a result's status
	Record  *wire.Ref    `json:"record,omitempty"`
	Result  *wire.Result `json:"result,omitempty"`
	Message string       `json:"message,omitempty"`
}

func (f *phone) follow(r *phoneRun, _ []string) error {
	known, err := r.held()
	if err != nil {
		return err
	}
	line := func(l followed) {
		l.At = time.Now().UTC()
		if f.json {
			_ = r.print(l) // a reader that has gone away ends the process
			return
		}
		s := l.At.Local().Format(time.TimeOnly) + "  " + l.What
		if l.Record != nil {
			s += " " + refText(*l.Record) + r.title(*l.Record)
		}
		if l.Message != "" {
			s += "  " + printable(l.Message)
		}
		fmt.Fprintln(r.out, s)
	}
	err = r.Live(r.ctx, func(c client.Change) {
		switch {
		case c.Online && c.Connected:
			line(followed{What: "connected"})
		case c.Online:
			why := ""
			if c.Err != nil && r.ctx.Err() == nil {
				why = r.plain(c.Err).Error()
			}
			line(followed{What: "offline", Message: why})
		}
		r.followResults(c.Results, line)
		if c.Reset { // the page may name less than what changed
			now, err := r.held()
			if err != nil {
				line(followed{What: "offline", Message: err.Error()})
				return
			}
			d := compare(known, now)
			known = now
			c.Records, c.Removed = append(d.Arrived, d.Changed...), d.Left
			for i := range c.Records {
				what := "arrived"
				if i >= len(d.Arrived) {
					what = "changed"
				}
				line(followed{What: what, Record: &c.Records[i]})
			}
		} else {
			for i := range c.Records {
				what := "changed"
				if _, had := known[c.Records[i]]; !had {
					what = "arrived"
				}
				known[c.Records[i]] = "live"
				line(followed{What: what, Record: &c.Records[i]})
			}
		}
		for i := range c.Removed {
			delete(known, c.Removed[i])
			line(followed{What: "left", Record: &c.Removed[i]})
		}
		if c.MobileEnded {
			line(followed{What: "note", Message: "the Mobile module is no longer among your roles"})
		}
	})
	if r.ctx.Err() != nil {
		return nil // interrupted, as meant
	}
	return err
}

func (r *phoneRun) followResults(results []wire.Result, line func(followed)) {
	if len(results) == 0 {
		return
	}
	problems, err := r.Problems()
	if err != nil {
		problems = nil
	}
	for i := range results {
		l := followed{What: results[i].Status, Result: &results[i], Message: fmt.Sprintf("change %d", results[i].N)}
		for j := range slices.Backward(problems) {
			if problems[j].Result.N == results[i].N && results[i].Status != wire.Applied {
				l.Message = problemText(&problems[j])
				break
			}
		}
		line(l)
	}
}
