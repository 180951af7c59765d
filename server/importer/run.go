package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// Bounds of one command: it must fit an entry of the log beside others.
const (
	MaxBatchRows  = 500
	MaxBatchBytes = 200 << 10 // of the rows as JSON
)

// Submitter takes a batch of rows as the system and says what became of them;
// the rejections carry the rows' places in the batch. An error means that the
// batch can't be known to have been written, and ends the import.
type Submitter interface {
	Submit(ctx context.Context, batch *command.Import) (apply.ImportCount, error)
}

// SubmitFunc is a function as a Submitter.
type SubmitFunc func(ctx context.Context, batch *command.Import) (apply.ImportCount, error)

// Submit implements Submitter.
func (f SubmitFunc) Submit(ctx context.Context, batch *command.Import) (apply.ImportCount, error) {
	return f(ctx, batch)
}

// Options say what to import and where to.
type Options struct {
	Mapping   *Mapping // from Load or Parse; one import at a time
	Catalogue *entity.Catalogue
	From      fs.FS // the folder with the source files
	To        Submitter
	// Rejects receives the rows that were not taken, as CSV, when all is done
	// or has failed: file, line, reason and the row's columns.
	Rejects io.Writer
	// Progress, if given, is told after each batch how many of all rows that
	// the rules look at are done, and which type is being written.
	Progress func(done, total int, label string)
}

// Run imports. It reads and checks all files and the mapping first; an error
// before the first batch means that nothing was written. The report is as far
// as the import came, also beside an error; it is nil where it never began.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Mapping == nil || o.Catalogue == nil || o.From == nil || o.To == nil || o.Rejects == nil {
		return nil, errors.New("importer: an option is missing")
	}
	if err := o.Mapping.bind(o.Catalogue); err != nil {
		return nil, err
	}
	r := &run{
		opts: o, mapping: o.Mapping, sources: map[string]*data{}, types: map[string]*TypeCount{},
		report: &Report{Mapping: o.Mapping.Name},
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	err := r.rules(ctx)
	if err == nil {
		r.leftovers()
	}
	r.count()
	if err == nil {
		err = r.report.check()
	}
	return r.report, errors.Join(err, writeRejects(o.Rejects, r.rejects))
}

// run is one import under way.
type run struct {
	opts    Options
	mapping *Mapping
	sources map[string]*data
	rejects []reject
	report  *Report
	types   map[string]*TypeCount
	done    int
	total   int
}

func (r *run) reject(w *row, reason string) {
	if w.rejected {
		return
	}
	w.rejected = true
	if len(w.taken) > 0 {
		reason += "; taken before that: " + strings.Join(w.taken, ", ")
	}
	r.rejects = append(r.rejects, reject{w, reason})
	for _, repeat := range w.over {
		r.reject(repeat, reason)
	}
}

func (r *run) note(w *row, text string) {
	n := Note{w.table.file, w.line, text}
	if !slices.Contains(r.report.Notes[max(0, len(r.report.Notes)-8):], n) {
		r.report.Notes = append(r.report.Notes, n)
	}
}

func (r *run) read() error {
	known := slices.Clone(r.mapping.Ignored)
	for _, name := range sortedKeys(r.mapping.Sources) {
		d, err := r.mapping.Sources[name].read(r.opts.From, r.reject)
		if err != nil {
			return err
		}
		r.sources[name] = d
		known = append(known, d.Files...)
	}
	files, err := fs.Glob(r.opts.From, "*.csv")
	if err != nil {
		return fmt.Errorf("importer: %w", err)
	}
	for _, f := range files {
		if !slices.Contains(known, f) {
			r.report.Unread = append(r.report.Unread, f)
		}
	}
	for _, rule := range r.mapping.Rules {
		r.total += len(r.sources[rule.From].rows)
	}
	return nil
}

func (r *run) rules(ctx context.Context) error {
	for _, rule := range r.mapping.Rules {
		count := RuleCount{Type: rule.Type, From: rule.From, Update: rule.Update}
		b := &build{run: r, rule: rule}
		records := b.collect(&count)
		err := b.send(ctx, records, &count)
		r.report.Rules = append(r.report.Rules, count)
		if err != nil {
			return err
		}
		if rule.Type != "" && !rule.Update {
			t := r.types[rule.Type]
			if t == nil {
				t = &TypeCount{Type: rule.Type}
				r.types[rule.Type] = t
			}
			t.Created += count.Created
			t.Changed += count.Changed
			t.Same += count.Same
		}
	}
	return nil
}

// collect makes the rule's records of its source's rows, each id once.
func (b *build) collect(count *RuleCount) []*record {
	var out []*record
	byID := map[ident.RecordID]*record{}
	for _, w := range b.sources[b.rule.From].rows {
		if w.rejected || w.first != nil {
			continue
		}
		look, ok, err := b.wants(w)
		if err == nil && !ok {
			continue
		}
		count.Rows++
		if err == nil && b.rule.Reject != "" {
			err = errors.New(b.rule.Reject)
		}
		var rec *record
		if err == nil {
			rec, err = b.record(w, look)
		}
		if err != nil {
			count.Rejected++
			b.reject(w, err.Error())
			continue
		}
		if first := byID[rec.row.ID]; first != nil {
			count.Repeated++
			for _, name := range b.rule.Watch {
				was, is := first.row.Fields[name], rec.row.Fields[name]
				if was != nil && is != nil && string(was) != string(is) {
					b.note(w, fmt.Sprintf("%s %s keeps %s %s, this row has %s", b.rule.Type, first.row.ID, name, was, is))
				}
			}
			first.fold(rec, b.rule.Keep == "first")
			continue
		}
		byID[rec.row.ID] = rec
		out = append(out, rec)
	}
	return out
}

// fold takes a further row's values into the record.
func (rec *record) fold(next *record, keep bool) {
	rec.more = append(rec.more, next.from)
	rec.lines = append(rec.lines, next.lines...)
	for name, v := range next.row.Fields {
		if _, has := rec.row.Fields[name]; !has || !keep {
			rec.row.Fields[name] = v
		}
	}
}

// send hands the records over in batches.
func (b *build) send(ctx context.Context, records []*record, count *RuleCount) error {
	before, rows := b.done, len(b.sources[b.rule.From].rows)
	batch := &command.Import{}
	var of []*record
	size, sent := 0, 0
	flush := func() error {
		if len(of) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("importer: stopped: %w", err)
		}
		res, err := b.opts.To.Submit(ctx, batch)
		if err != nil {
			return fmt.Errorf("importer: writing %s: %w", b.rule.Type, err)
		}
		if err := b.settle(of, res, count); err != nil {
			return err
		}
		sent += len(of)
		b.done = before + rows*sent/len(records)
		b.tell()
		batch, of, size = &command.Import{}, nil, 0
		return nil
	}
	for _, rec := range records {
		raw, err := json.Marshal(rec.row)
		if err != nil {
			return fmt.Errorf("importer: %w", err)
		}
		if len(raw) > MaxBatchBytes {
			b.refuse(rec, fmt.Sprintf("the %s has %d KiB, more than %d", b.rule.Type, len(raw)>>10, MaxBatchBytes>>10), count)
			continue
		}
		if len(of) == MaxBatchRows || size+len(raw)+1 > MaxBatchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		batch.Rows, of, size = append(batch.Rows, rec.row), append(of, rec), size+len(raw)+1
	}
	if err := flush(); err != nil {
		return err
	}
	b.done = before + rows
	b.tell()
	return nil
}

func (b *build) tell() {
	if b.opts.Progress != nil {
		b.opts.Progress(b.done, b.total, b.rule.Type)
	}
}

// settle takes the answer to a batch apart.
func (b *build) settle(of []*record, res apply.ImportCount, count *RuleCount) error {
	if res.Created+res.Changed+res.Same+len(res.Rejected) != len(of) {
		return fmt.Errorf("importer: %d rows of %s were sent, %d answered", len(of), b.rule.Type, res.Created+res.Changed+res.Same+len(res.Rejected))
	}
	refused := map[int]bool{}
	for _, x := range res.Rejected {
		if x.Index < 0 || x.Index >= len(of) || refused[x.Index] {
			return fmt.Errorf("importer: the answer rejects a row %d that was not sent", x.Index)
		}
		refused[x.Index] = true
		e := fault.Of(x.Err)
		reason := fmt.Sprintf("%s %s: %s (%s)", b.rule.Type, of[x.Index].row.ID, e.Message, e.Code)
		if e.Field != "" {
			reason = fmt.Sprintf("%s %s, %s: %s (%s)", b.rule.Type, of[x.Index].row.ID, e.Field, e.Message, e.Code)
		}
		b.refuse(of[x.Index], reason, count)
	}
	count.Created += res.Created
	count.Changed += res.Changed
	count.Same += res.Same
	for i, rec := range of {
		if refused[i] {
			continue
		}
		for _, w := range rec.more {
			w.further = w.further || !b.rule.Update
		}
		rec.from.own = rec.from.own || !b.rule.Update
		for _, w := range slices.Concat([]*row{rec.from}, rec.more, rec.lines) {
			w.taken = append(w.taken, b.rule.Type)
		}
		for _, w := range rec.lines {
			w.own = true
		}
	}
	return nil
}

// refuse rejects a record with all its rows.
func (b *build) refuse(rec *record, reason string, count *RuleCount) {
	count.Rejected += 1 + len(rec.more)
	count.Repeated -= len(rec.more)
	t := b.types[b.rule.Type]
	if t == nil {
		t = &TypeCount{Type: b.rule.Type}
		b.types[b.rule.Type] = t
	}
	t.Rejected++
	for _, w := range slices.Concat([]*row{rec.from}, rec.more, rec.lines) {
		b.reject(w, reason)
	}
}

// leftovers rejects the rows that nothing was made of.
func (r *run) leftovers() {
	for _, name := range sortedKeys(r.sources) {
		d := r.sources[name]
		if !d.driven {
			continue
		}
		for _, w := range d.rows {
			if len(w.taken) == 0 && w.first == nil {
				r.reject(w, "nothing in the mapping takes this row")
			}
		}
	}
}

func (r *run) count() {
	rep := r.report
	rep.Rejected = len(r.rejects)
	for _, name := range sortedKeys(r.sources) {
		d := r.sources[name]
		c := SourceCount{Name: name, Rows: len(d.rows), Lookup: !d.driven}
		for _, w := range d.rows {
			switch {
			case w.rejected:
				c.Rejected++
			case w.first != nil, w.further && !w.own:
				c.Repeated++
			case !d.driven, len(w.taken) > 0:
				c.Taken++
			}
		}
		rep.Sources = append(rep.Sources, c)
	}
	for _, rule := range r.mapping.Rules {
		if t := r.types[rule.Type]; t != nil && !slices.ContainsFunc(rep.Types, func(c TypeCount) bool { return c.Type == rule.Type }) {
			rep.Types = append(rep.Types, *t)
		}
	}
}
