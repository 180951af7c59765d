package apply

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/project"
	"satchel/sync/subject"
)

// change is one change of one record, from the module API or from a device.
type change struct {
	op      string
	app     entity.App // "" : any
	typ     string
	id      ident.RecordID
	fields  command.Object
	was     command.Object // of a device's patch; nil: overwrite
	action  string
	args    command.Object
	ifMatch string
	prefix  string // ids made by the client start with it; "": none may be
}

// outcome is what a change did.
type outcome struct {
	typ       *entity.Type
	id        ident.RecordID
	ord       ident.Ordinal // of the record, 0 where it was not at hand
	conflicts []Contended
}

func notFound() error { return fault.New(fault.NotFoundCode) }

// maxKey bounds an idempotency key, in bytes.
const maxKey = 255

func (r *run) write(w *command.Write) Result {
	if len(w.Key) > maxKey {
		return Result{Err: fault.Newf(fault.BadParameter, "An idempotency key has at most %d characters.", maxKey)}
	}
	if w.Mobile && (r.sub == nil || !r.sub.Mobile) {
		return Result{Err: fault.New(fault.MobileModuleRequired)}
	}
	if w.Key != "" && !mutant.On(mutant.KeyIgnored) {
		if res, ok := r.repeated(w.Key, w.KeyHash); ok {
			return res
		}
	}
	if w.At != 0 {
		r.at = max(0, min(r.w.Now(), w.At))
	}
	out, err := r.change(change{
		op: w.Op, app: entity.App(w.App), typ: w.Type, id: w.ID, fields: w.Fields,
		action: w.Action, args: w.Args, ifMatch: w.IfMatch, prefix: r.prefix(),
	})
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		return Result{Err: err}
	}
	if w.Key != "" {
		r.remember(w.Key, keyRow{Hash: w.KeyHash, Type: out.typ.Name, ID: out.id})
	}
	return r.answer(out)
}

// answer shows the actor the record as it now stands.
func (r *run) answer(out outcome) Result {
	res := Result{Type: out.typ, ID: out.id}
	if out.ord == 0 {
		out.ord = r.w.Ordinal(out.id)
	}
	rec, ok := r.w.LoadOrd(out.ord)
	if !ok {
		return res
	}
	sub := r.sub
	if sub != nil {
		sub = r.subject(sub.ID) // rights may be what was changed
	}
	sight := policy.Sight{Mask: out.typ.All()}
	if sub != nil {
		sight = sub.Sees(rec, &r.w.Reader)
	}
	if sight.Mask == 0 {
		return res
	}
	raw := r.w.Reader.Bytes(rec.Ord)
	body, rev, err := r.projector.AppendREST(make([]byte, 0, len(raw)+aroundBody), raw, rec.ID, sight.Mask, sight.Context)
	if err != nil {
		panic(err)
	}
	res.Body, res.Rev = body, rev.String()
	return res
}

// aroundBody is room for what a body has beside the fields as stored: id, rev
// and the last change.
const aroundBody = 192

func (r *run) bulk(b *command.Bulk) Result {
	t := r.cfg.Cat.Type(b.Type)
	if t == nil || (b.App != "" && !t.In(entity.App(b.App))) {
		return Result{Err: notFound()}
	}
	a := t.Action(b.Action)
	if a == nil || !a.Bulk {
		return Result{Err: fault.Newf(fault.BadParameter, "There is no such bulk action.")}
	}
	if len(b.Key) > maxKey {
		return Result{Err: fault.Newf(fault.BadParameter, "An idempotency key has at most %d characters.", maxKey)}
	}
	if b.Key != "" {
		if res, ok := r.repeated(b.Key, b.KeyHash); ok {
			return res
		}
	}
	for _, name := range ascending(b.Args) {
		if _, err := argument(t, a, name, r.knows(t)); err != nil {
			return Result{Err: err}
		}
	}
	if b.App != "" && r.sub != nil && !r.sub.Through(t, entity.App(b.App)) {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	// Who may do it to no record at all is told so, whatever the list.
	if r.sub != nil && len(r.sub.Grants(t, policy.Verb(a.Name))) == 0 {
		_, err := r.decide(policy.Verb(a.Name), &entity.Record{Type: t})
		return Result{Err: err}
	}
	each := eachOf(a, b.Args)
	if len(each)*len(b.IDs) > maxEach {
		return Result{Err: fault.Newf(fault.BadValue, "ids times %s may be at most %d.", a.Each, maxEach).OnField(a.Each)}
	}
	res := Result{Bulk: make([]BulkItem, 0, len(b.IDs))}
	for _, id := range b.IDs {
		c := change{op: "action", app: entity.App(b.App), typ: b.Type, id: id, action: b.Action, args: b.Args}
		if each != nil {
			res.Bulk = append(res.Bulk, r.toEach(t, a, c, each))
			continue
		}
		res.Bulk = append(res.Bulk, BulkItem{ID: id, Err: r.part(func() error {
			_, err := r.change(c)
			return err
		})})
	}
	// Where the right is missing for all of them, that is the answer.
	if !slices.ContainsFunc(res.Bulk, func(it BulkItem) bool { return it.Err == nil || !fault.Is(it.Err, fault.NotAllowed) }) && len(res.Bulk) > 0 {
		return Result{Err: res.Bulk[0].Err}
	}
	if b.Key != "" {
		r.remember(b.Key, keyRow{Hash: b.KeyHash, Type: t.Name, Bulk: keptItems(res.Bulk)})
	}
	return res
}

// part makes one of the changes of a bulk action, whole or not at all, and
// returns why not.
func (r *run) part(f func() error) error {
	mark := r.savepoint()
	err := f()
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		r.undo(mark)
		r.trail = append(r.trail, r.attempted(err)...)
		r.alarm(err)
		err = fault.Of(err)
	}
	r.renew()
	return err
}

// maxEach bounds what a bulk action does that is judged record by record: the
// records it is done for times those it is done to.
const maxEach = 10_000

// eachOf returns the records that a bulk action is to judge one by one, in the
// order in which they were named, each once; nil where it has no such argument,
// or one that can't be read, which is then refused like any other.
func eachOf(a *entity.Action, args command.Object) []ident.RecordID {
	i := slices.IndexFunc(a.Args, func(f *entity.Field) bool { return f.Name == a.Each })
	if i < 0 {
		return nil
	}
	if v, err := a.Args[i].Normalize(args[a.Each]); err != nil || v.IsNull() {
		return nil
	}
	var list, out []ident.RecordID
	if err := json.Unmarshal(args[a.Each], &list); err != nil {
		return nil
	}
	seen := map[ident.RecordID]bool{}
	for _, id := range list {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// toEach does a bulk action for one record to each of others, which are judged
// on their own: one that the actor doesn't see is answered like one that is not
// there, and keeps none from being done. Where not one could be, nothing was.
func (r *run) toEach(t *entity.Type, a *entity.Action, c change, each []ident.RecordID) BulkItem {
	item := BulkItem{ID: c.id}
	r.doing = doing{op: opOf[c.op], name: c.action, id: c.id}
	if item.Err = r.part(func() error { _, _, err := r.mayAct(t, a, c.id); return err }); item.Err != nil {
		return item
	}
	done := false
	for _, id := range each {
		one := c
		one.args = maps.Clone(c.args)
		one.args[a.Each] = json.RawMessage(jsonOf(entity.SetValue([]string{string(id)})))
		err := r.part(func() error {
			_, err := r.change(one)
			return err
		})
		if f := fault.Of(err); f != nil && f.Code == fault.BadReference && f.Field == a.Each {
			err = notFound()
		}
		done = done || err == nil
		item.Each = append(item.Each, BulkItem{ID: id, Err: err})
	}
	if !done {
		item.Err = item.Each[0].Err
	}
	return item
}

// renew takes the actor's rights as they are after what was just done.
func (r *run) renew() {
	if r.sub == nil {
		return
	}
	if s := r.subject(r.sub.ID); s != nil {
		r.sub = s
	}
}

// change makes one change or returns why not. It may leave staged rows behind
// when it fails; the caller rolls back.
func (r *run) change(c change) (outcome, error) {
	t := r.cfg.Cat.Type(c.typ)
	if t == nil || (c.app != "" && !t.In(c.app)) {
		return outcome{}, fault.Newf(fault.BadParameter, "There is no such type of record.").OnField("type")
	}
	r.doing = doing{op: opOf[c.op], name: c.action, id: c.id}
	if c.app != "" && r.sub != nil && !r.sub.Through(t, c.app) {
		return outcome{}, fault.New(fault.NotAllowed)
	}
	switch c.op {
	case "create":
		return r.create(t, c)
	case "patch":
		return r.patch(t, c)
	case "delete":
		return r.remove(t, c)
	case "action":
		return r.act(t, c)
	}
	return outcome{}, fault.Newf(fault.BadParameter, "op must be create, patch, delete or action.").OnField("op")
}

// find returns a record the person sees, and what of it. Hidden, absent and
// of another type are the same answer.
func (r *run) find(t *entity.Type, id ident.RecordID) (*entity.Record, policy.Sight, error) {
	rec, ok := r.w.Load(id)
	if !ok || rec.Type != t {
		return nil, policy.Sight{}, notFound()
	}
	if r.sub == nil {
		return rec, policy.Sight{Mask: t.All()}, nil
	}
	s := r.sub.Sees(rec, &r.w.Reader)
	if s.Mask == 0 && !mutant.On(mutant.HiddenFound) {
		return nil, s, notFound()
	}
	return rec, s, nil
}

// decide asks the policy; the system may do everything.
func (r *run) decide(v policy.Verb, rec *entity.Record) (entity.Mask, error) {
	if r.sub == nil {
		return rec.Type.All(), nil
	}
	d := r.sub.Decide(v, rec, &r.w.Reader)
	if d.Allowed {
		r.doing.by = d.For
		return d.Mask, nil
	}
	e := fault.New(fault.NotAllowed)
	if d.Clause != "" {
		e = e.With("clause", d.Clause)
	}
	return 0, e
}

// knows is the fields of a type that the actor can know of.
func (r *run) knows(t *entity.Type) entity.Mask {
	if r.sub == nil {
		return t.All()
	}
	return r.sub.Knows(t)
}

func (r *run) create(t *entity.Type, c change) (outcome, error) {
	if c.id != "" {
		if !c.id.Valid() || (!c.id.HasPrefix(c.prefix) && !mutant.On(mutant.ForeignIDs)) {
			return outcome{}, fault.New(fault.BadID).OnField("id")
		}
		// Only this device makes ids with its prefix, so that this tells
		// nobody anything.
		if _, used := r.w.Identify(c.id); used {
			return outcome{}, fault.New(fault.BadID).OnField("id")
		}
	} else {
		c.id = r.freshID()
		r.doing.id = c.id
	}
	// Who may create no such record at all is told so, whatever is in it.
	if !r.mayEverCreate(t) {
		if _, err := r.decide(policy.Create, &entity.Record{Type: t}); err != nil {
			return outcome{}, err
		}
	}
	known := r.knows(t)
	vals, err := r.values(t, c.fields, known, (*entity.Field).Normalize)
	if err != nil {
		return outcome{}, err
	}
	nos := ascending(vals)
	for _, no := range nos {
		if f := t.FieldNo(no); f.ReadOnly {
			return outcome{}, fault.New(fault.ReadOnlyField).OnField(f.Name)
		}
	}
	// The record as it would stand, to be judged before it gets an ordinal.
	draft := &entity.Record{Type: t, ID: c.id}
	for _, no := range nos {
		draft.Put(no, vals[no])
	}
	// Whether somebody can be given the work is one answer for all reasons,
	// below; that the client is hidden from them must not show here.
	if err := r.refer(draft, draft.Dirty()&^assigned(t)); err != nil {
		return outcome{}, err
	}
	if err := r.belong(draft); err != nil {
		return outcome{}, err
	}
	if t.Drafted != nil {
		t.Drafted(r, draft)
	}
	may, err := r.mayCreate(t, draft)
	if err != nil {
		return outcome{}, err
	}
	for _, no := range nos {
		if !may.Has(no) {
			return outcome{}, fault.New(fault.FieldNotAllowed).OnField(t.FieldNo(no).Name)
		}
	}
	// Who may be given work at creation is judged like an assignment.
	for _, a := range t.Actions {
		if a.Assigns == "" || draft.Get(a.Assigns).IsNull() {
			continue
		}
		if err := r.assignable(a, draft, draft, draft.Get(a.Assigns).Ref()); err != nil {
			return outcome{}, err
		}
	}
	if t.Status != nil {
		draft.Set(t.Status.Field, entity.StringValue(t.Status.Initial))
	}
	rec, err := r.insert(draft)
	if err != nil {
		return outcome{}, err
	}
	return outcome{typ: t, id: rec.ID, ord: rec.Ord}, nil
}

// mayEverCreate reports whether some grant lets the person create records of
// the type, or comment on any type.
func (r *run) mayEverCreate(t *entity.Type) bool {
	return r.sub == nil || len(r.sub.Grants(t, policy.Create)) > 0 ||
		t.Name == typeComment && slices.ContainsFunc(r.cfg.Cat.Types, func(o *entity.Type) bool {
			return len(r.sub.Grants(o, policy.Comment)) > 0
		})
}

// mayCreate asks the policy for the right to create: a grant on the type or,
// for what is written on another record, the right to comment on that one.
func (r *run) mayCreate(t *entity.Type, draft *entity.Record) (entity.Mask, error) {
	mask, err := r.decide(policy.Create, draft)
	if err == nil || t.Name != typeComment {
		return mask, err
	}
	if parent, ok := r.w.Load(draft.RootOf()); ok {
		if _, perr := r.decide(policy.Comment, parent); perr == nil {
			return t.All(), nil
		}
	}
	return 0, err
}

// typeComment is the type whose creation the verb comment gives.
const typeComment = "comment"

// insert gives a draft its ordinal and system fields and saves it.
func (r *run) insert(draft *entity.Record) (*entity.Record, error) {
	t := draft.Type
	rec := r.w.New(t, draft.ID)
	rec.Cells = draft.Cells
	rec.Put(entity.NoCreatedAt, entity.TimeValue(r.w.Now()))
	if r.cmd.Actor != "" {
		rec.Put(entity.NoCreatedBy, entity.RefValue(r.cmd.Actor))
	}
	if t.Created != nil {
		if err := t.Created(r, rec); err != nil {
			return nil, err
		}
	}
	if err := r.save(nil, rec); err != nil {
		return nil, err
	}
	if t.Name == TypeDocument {
		return r.claim(rec)
	}
	return rec, nil
}

// belong sets the record's client from its root. It is written by nobody.
func (r *run) belong(rec *entity.Record) error {
	t := rec.Type
	switch {
	case t.IsClient:
		rec.Put(entity.NoClientID, entity.RefValue(rec.ID))
	case t.Root != "":
		id := rec.RootOf()
		if id == "" {
			return nil
		}
		parent, ok := r.w.Load(id)
		if !ok {
			return fault.New(fault.BadReference).OnField(t.Root)
		}
		if c := parent.Client(); c != "" {
			rec.Put(entity.NoClientID, entity.RefValue(c))
		}
	}
	return nil
}

func (r *run) patch(t *entity.Type, c change) (outcome, error) {
	before, sight, err := r.find(t, c.id)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{typ: t, id: c.id, ord: before.Ord}
	may, err := r.decide(policy.Edit, before)
	if err != nil {
		return out, err
	}
	// Nobody writes over what they can't read: any other field is an unknown one.
	known := r.knows(t) & sight.Mask
	was, odd, err := r.changedFrom(t, c, known)
	if err != nil {
		return out, err
	}
	fields, err := addAndRemove(before, c.fields, was, known)
	if err != nil {
		return out, err
	}
	vals, err := r.values(t, fields, known, replacing(before))
	if err != nil {
		return out, err
	}
	if before.Archived() {
		return out, fault.New(fault.Archived)
	}
	if err := r.match(before, sight, c.ifMatch); err != nil {
		return out, err
	}
	after := before.Clone()
	nos := ascending(vals)
	for _, no := range nos {
		if f := t.FieldNo(no); f.Personal && t.Former != "" && WasErased(&r.w.Reader, before.ID) {
			return out, errErased()
		}
	}
	for _, no := range nos {
		f := t.FieldNo(no)
		switch {
		case f.ReadOnly:
			return out, fault.New(fault.ReadOnlyField).OnField(f.Name)
		case !may.Has(no):
			return out, fault.New(fault.FieldNotAllowed).OnField(f.Name)
		case f.Immutable && !bytes.Equal(before.Value(no), vals[no]):
			return out, fault.New(fault.ImmutableField).OnField(f.Name)
		}
		if was != nil && !mutant.On(mutant.LastWriteWins) {
			w, told := was[no]
			if !told && odd[no] == nil {
				return out, fault.Newf(fault.MissingField, "was must hold the value that %s was changed from.", f.Name).OnField("was")
			}
			x := Contended{Field: f.Name, Mine: json.RawMessage(jsonOf(vals[no])), Was: odd[no]}
			v, clash := vals[no], !bytes.Equal(before.Value(no), vals[no])
			if told {
				v, clash = merge(f, before.Value(no), w, vals[no])
				x.Was = json.RawMessage(jsonOf(w))
			}
			if clash {
				out.conflicts = append(out.conflicts, x)
				continue
			}
			// Both sides' entries together may be more than the field takes.
			if v, err = f.Recall(v); err != nil {
				return out, err
			}
			after.Put(no, v)
			continue
		}
		after.Put(no, vals[no])
	}
	if err := r.refer(after, after.Dirty()); err != nil {
		return out, err
	}
	if err := r.keepAssignee(after); err != nil {
		return out, err
	}
	return out, r.save(before, after)
}

// changedFrom reads what a device says the fields that it writes were changed
// from; nil where the change overwrites. Of other fields it may send along more
// than its user may see by now. odd is what the field can't have had: the device
// typed over something of its own that was refused.
func (r *run) changedFrom(t *entity.Type, c change, known entity.Mask) (was map[uint8]entity.Value, odd map[uint8]json.RawMessage, err error) {
	if c.was == nil {
		return nil, nil, nil
	}
	told := command.Object{}
	for _, name := range ascending(c.fields) {
		v, ok := c.was[name]
		if !ok {
			continue
		}
		if f := t.Field(name); f != nil && known.Has(f.No) {
			if _, err := f.Recall(v); err != nil {
				if odd == nil {
					odd = map[uint8]json.RawMessage{}
				}
				odd[f.No] = v
				continue
			}
		}
		told[name] = v
	}
	was, err = r.values(t, told, known, (*entity.Field).Recall)
	return was, odd, err
}

// jsonOf renders a value, null for none.
func jsonOf(v entity.Value) []byte {
	if v.IsNull() {
		return []byte("null")
	}
	return v
}

// merge brings a device's change of one field together with the present
// value. Sets merge by member. clash is set where both sides changed it.
func merge(f *entity.Field, now, was, mine entity.Value) (entity.Value, bool) {
	switch {
	case bytes.Equal(now, was), bytes.Equal(now, mine):
		return mine, false
	case f.Kind == entity.Refs || f.Kind == entity.Strings:
		out := now.Set()
		old, want := was.Set(), mine.Set()
		out = slices.DeleteFunc(out, func(s string) bool {
			return slices.Contains(old, s) && !slices.Contains(want, s)
		})
		for _, s := range want {
			if !slices.Contains(old, s) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return entity.SetValue(out), false
	case f.Kind == entity.Lines:
		return mergeLines(now, was, mine)
	}
	return now, true
}

// mergeLines merges lists by the ids of their lines: a line that one side
// alone added, changed or removed follows that side. clash is set where both
// changed the same line differently; then the server's list stands.
func mergeLines(now, was, mine entity.Value) (entity.Value, bool) {
	type line struct {
		ID string `json:"id"`
	}
	split := func(v entity.Value) (ids []string, by map[string]json.RawMessage) {
		var raws []json.RawMessage
		by = map[string]json.RawMessage{}
		if v.IsNull() || json.Unmarshal(v, &raws) != nil {
			return nil, by
		}
		for _, raw := range raws {
			var l line
			if json.Unmarshal(raw, &l) == nil {
				ids = append(ids, l.ID)
				by[l.ID] = raw
			}
		}
		return ids, by
	}
	nowIDs, nowBy := split(now)
	_, wasBy := split(was)
	mineIDs, mineBy := split(mine)
	var out []json.RawMessage
	for _, id := range nowIDs {
		n, w, m := nowBy[id], wasBy[id], mineBy[id]
		switch {
		case bytes.Equal(n, m), bytes.Equal(w, m): // the same, or untouched by me
			out = append(out, n)
		case w != nil && bytes.Equal(n, w): // changed or removed by me alone
			if m != nil {
				out = append(out, m)
			}
		default:
			return now, true
		}
	}
	for _, id := range mineIDs {
		if nowBy[id] != nil {
			continue
		}
		switch {
		case wasBy[id] == nil: // added by me
			out = append(out, mineBy[id])
		case !bytes.Equal(wasBy[id], mineBy[id]): // changed by me, removed there
			return now, true
		}
	}
	if len(out) == 0 {
		return nil, false
	}
	b := []byte{'['}
	for i, raw := range out {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, raw...)
	}
	return append(b, ']'), false
}

// addAndRemove replaces changes of sets, {"add":[…],"remove":[…]}, by the sets
// they lead to: from the value that the writer changed, where told, otherwise
// from the present one. Fields outside known are left for values to refuse.
func addAndRemove(before *entity.Record, in command.Object, was map[uint8]entity.Value, known entity.Mask) (command.Object, error) {
	out, copied := in, false
	for _, name := range ascending(in) {
		f := before.Type.Field(name)
		if f == nil || !known.Has(f.No) || (f.Kind != entity.Refs && f.Kind != entity.Strings) {
			continue
		}
		raw := bytes.TrimSpace(in[name])
		if len(raw) == 0 || raw[0] != '{' {
			continue
		}
		var parts map[string]json.RawMessage
		if err := json.Unmarshal(raw, &parts); err != nil {
			return nil, fault.New(fault.BadValue).OnField(name)
		}
		var add, remove entity.Value
		for _, k := range slices.Sorted(maps.Keys(parts)) {
			if k != "add" && k != "remove" {
				return nil, fault.Newf(fault.BadValue, "%s takes a list, or an object of add and remove.", name).OnField(name)
			}
			var err error
			if k == "add" {
				add, err = f.Normalize(parts[k])
			} else {
				remove, err = f.Recall(parts[k])
			}
			if err != nil {
				return nil, err
			}
		}
		base := before.Value(f.No)
		if v, told := was[f.No]; told {
			base = v
		} else if was != nil {
			was[f.No] = base // members alone say what was changed
		}
		gone := remove.Set()
		mine := slices.DeleteFunc(append(base.Set(), add.Set()...), func(s string) bool { return slices.Contains(gone, s) })
		if !copied { // the command itself stays as it came
			out, copied = maps.Clone(in), true
		}
		out[name] = json.RawMessage(jsonOf(entity.SetValue(mine)))
	}
	return out, nil
}

func (r *run) match(rec *entity.Record, sight policy.Sight, want string) error {
	if want == "" {
		return nil
	}
	if rev := project.RevOfRecord(rec, sight.Mask).String(); rev != want && !mutant.On(mutant.MatchIgnored) {
		return fault.New(fault.RevMismatch)
	}
	return nil
}

// kept is the refusal to delete what is never deleted.
func kept() error {
	return fault.Newf(fault.WrongStatus, "Records of this kind are kept. Archive, disable, reverse or void them instead.")
}

func (r *run) remove(t *entity.Type, c change) (outcome, error) {
	rec, sight, err := r.find(t, c.id)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{typ: t, id: c.id}
	if _, err := r.decide(policy.Delete, rec); err != nil {
		return out, err
	}
	if t.NoDelete {
		return out, kept()
	}
	if err := r.match(rec, sight, c.ifMatch); err != nil {
		return out, err
	}
	if err := r.unchanged(rec, sight, c.was); err != nil {
		return out, err
	}
	return out, r.Delete(rec)
}

// unchanged refuses a device's delete of a record of which a field that people
// set and the device saw has another value by now. What the system sets follows
// from other records, which the device may be changing itself.
func (r *run) unchanged(rec *entity.Record, sight policy.Sight, was command.Object) error {
	for _, name := range ascending(was) {
		f := rec.Type.Field(name)
		if f == nil || !sight.Mask.Has(f.No) || !rec.Type.ByHand(f) {
			continue
		}
		v, err := f.Recall(was[name])
		if err != nil || !bytes.Equal(v, rec.Value(f.No)) {
			return fault.New(fault.EditConflict).OnField(name)
		}
	}
	return nil
}

// hasChildren reports whether a record belongs to this one.
func (r *run) hasChildren(rec *entity.Record) bool {
	for _, t := range r.cfg.Cat.Types {
		if t.Falls {
			continue
		}
		for _, f := range t.RefsTo(rec.Type.Name) {
			if (t.Root == f.Name || f.Required || rec.Type.Kept) && !r.w.Referring(t, f.No, rec.ID).IsEmpty() {
				return true
			}
		}
	}
	return false
}

func (r *run) drop(rec *entity.Record) {
	r.foresee(rec, nil)
	r.decides(rec)
	r.trace(rec, nil, valued(rec))
	r.w.Remove(rec)
	r.rehold(rec, nil)
}

// mayAct returns the record that an action is to be done to, if the actor sees
// it and may do that; a is nil where the type has no such action.
func (r *run) mayAct(t *entity.Type, a *entity.Action, id ident.RecordID) (*entity.Record, policy.Sight, error) {
	before, sight, err := r.find(t, id)
	if err != nil {
		return nil, sight, err
	}
	if a == nil {
		return nil, sight, fault.Newf(fault.BadParameter, "There is no such action.").OnField("action")
	}
	if _, err := r.decide(policy.Verb(a.Name), before); err != nil {
		return nil, sight, err
	}
	if t.Name == subject.Employee && WasErased(&r.w.Reader, before.ID) {
		return nil, sight, errErased() // there is nobody to come back
	}
	return before, sight, nil
}

func (r *run) act(t *entity.Type, c change) (outcome, error) {
	if t.Name == typeConflict {
		return r.settleConflict(t, c)
	}
	a := t.Action(c.action)
	before, sight, err := r.mayAct(t, a, c.id)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{typ: t, id: c.id}
	args, err := r.arguments(t, a, c.args, sight.Mask)
	if err != nil {
		return out, err
	}
	if before.Archived() && !a.WhenArchived {
		return out, fault.New(fault.Archived)
	}
	if a.From != nil && !slices.Contains(a.From, before.StatusText()) {
		// The words are kept with results; they don't quote the record.
		return out, fault.New(fault.WrongStatus)
	}
	if err := r.match(before, sight, c.ifMatch); err != nil {
		return out, err
	}
	after := before.Clone()
	for _, f := range a.Args {
		if tf := t.Field(f.Name); tf != nil && args.Has(f.Name) {
			after.Put(tf.No, args[f.Name])
		}
	}
	if a.Assigns != "" && args.Has(a.Assigns) {
		if err := r.assignable(a, before, after, args[a.Assigns].Ref()); err != nil {
			return out, err
		}
	}
	if err := r.refer(after, after.Dirty()); err != nil {
		return out, err
	}
	if a.To != "" {
		after.Set(t.Status.Field, entity.StringValue(a.To))
	}
	for _, n := range a.Stamps {
		after.Set(n, entity.TimeValue(r.at))
	}
	for _, n := range a.Clears {
		after.Set(n, nil)
	}
	if a.Do != nil {
		if err := a.Do(r, after, args); err != nil {
			return out, err
		}
	}
	if a.Removes {
		if t.NoDelete {
			return out, kept()
		}
		return out, r.Delete(before)
	}
	r.keepEligible(before, after)
	return out, r.save(before, after)
}

// assigned is the fields that actions assign people to.
func assigned(t *entity.Type) entity.Mask {
	var m entity.Mask
	for _, a := range t.Actions {
		if f := t.Field(a.Assigns); f != nil {
			m |= 1 << f.No
		}
	}
	return m
}

// assignable judges whether a person may be given the work, as it would stand
// after: one answer for every reason.
func (r *run) assignable(a *entity.Action, before, after *entity.Record, person ident.RecordID) error {
	one := subject.Assignment{
		Record: after, By: r.sub, Bound: r.sub != nil && r.sub.BoundOnsite(policy.Verb(a.Name), before, &r.w.Reader),
	}
	if !one.Eligible(&r.w.Reader, r.subject(person)) && !mutant.On(mutant.AssignAnybody) {
		return fault.New(fault.AssigneeNotEligible).OnField(a.Assigns)
	}
	return nil
}

// keepAssignee refuses to ask for a scheduling role of work, or to give it to an
// onsite group, where whoever has it by now is not of those.
func (r *run) keepAssignee(after *entity.Record) error {
	if after.Type.Status == nil || !slices.Contains(after.Type.Status.Open, after.StatusText()) {
		return nil
	}
	for _, name := range []string{subject.SchedulingRole, subject.OnsiteGroup} {
		f := after.Type.Field(name)
		if f == nil || !after.Dirty().Has(f.No) {
			continue
		}
		for _, a := range after.Type.Actions {
			if a.Assigns == "" || after.Get(a.Assigns).IsNull() {
				continue
			}
			person := r.subject(after.Get(a.Assigns).Ref())
			if !subject.Holds(after, person) || !subject.InGroup(&r.w.Reader, after, person) {
				return fault.New(fault.AssigneeNotEligible).OnField(name)
			}
		}
	}
	return nil
}

// save checks and stages a record and runs what its type does on a change.
func (r *run) save(before, after *entity.Record) error {
	t := after.Type
	if before != nil && after.Dirty() == 0 {
		return nil
	}
	for _, f := range t.Fields {
		if f.Required && after.Value(f.No).IsNull() {
			return fault.Newf(fault.MissingField, "%s is required.", f.Name).OnField(f.Name)
		}
	}
	if t.Check != nil {
		if err := t.Check(r, before, after); err != nil {
			return err
		}
	}
	if err := r.cfg.Roles.Check(&r.w.Reader, after); err != nil {
		return err
	}
	for _, f := range t.Fields {
		if f.Unique && after.Dirty().Has(f.No) {
			if err := r.unique(after, f); err != nil {
				return err
			}
		}
	}
	r.foresee(before, after)
	if before != nil {
		r.decides(before)
	}
	fields := after.Dirty()
	r.w.Save(before, after, r.cmd.Actor)
	r.trace(before, after, fields)
	r.decides(after)
	r.rehold(before, after)
	if t.Name == subject.Device && before != nil && after.StatusText() == deviceRevoked && before.StatusText() != deviceRevoked {
		r.revokeDevice(after.ID)
	}
	if t.Changed != nil {
		if r.depth++; r.depth > 8 {
			r.depth--
			return fault.Newf(fault.InternalError, "changes follow from each other without end")
		}
		err := t.Changed(r, before, after)
		r.depth--
		if err != nil {
			return err
		}
	}
	if before == nil {
		fields = t.All()
	}
	return r.announce(before, after, fields)
}

// unique refuses a value that another record has which the writer sees. One of
// a record that is hidden from the writer is free: to refuse it would tell that
// there is such a record, and a guess at a number, a client's invoice, say,
// would be answered. So two can come to bear one number where they are typed by
// people from whom the other one is hidden; the numbers of series, which are
// never typed, are borne once.
func (r *run) unique(rec *entity.Record, f *entity.Field) error {
	v := rec.Value(f.No)
	if v.IsNull() {
		return nil
	}
	for _, o := range r.w.Named(rec.Type, f.Name, v.Text()) {
		if o == rec.Ord {
			continue
		}
		other, ok := r.w.LoadOrd(o)
		if !ok {
			continue
		}
		if r.sub == nil || r.sub.View(other, &r.w.Reader).Mask.Has(f.No) || mutant.On(mutant.DuplicateTells) {
			return fault.New(fault.Duplicate).OnField(f.Name)
		}
	}
	return nil
}

// ascending returns the keys of a map in order.
func ascending[K cmp.Ordered, V any](of map[K]V) []K {
	keys := make([]K, 0, len(of))
	for k := range of {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// reading is how a value is read: as a new one, as one that may have stood
// before, or as one that takes the place of another.
type reading func(f *entity.Field, raw []byte) (entity.Value, error)

// replacing reads values for a record: what it holds may stay, though it be
// refused by now.
func replacing(rec *entity.Record) reading {
	return func(f *entity.Field, raw []byte) (entity.Value, error) { return f.Replace(raw, rec.Value(f.No)) }
}

// values normalises the members of an object against the type's fields.
// Fields outside known are unknown, whether or not they exist.
func (r *run) values(t *entity.Type, in command.Object, known entity.Mask, read reading) (map[uint8]entity.Value, error) {
	out := make(map[uint8]entity.Value, len(in))
	for _, name := range ascending(in) {
		f := t.Field(name)
		if f == nil || !known.Has(f.No) {
			return nil, fault.Newf(fault.UnknownField, "There is no field %q.", name).OnField(name)
		}
		v, err := read(f, in[name])
		if err != nil {
			return nil, err
		}
		out[f.No] = v
	}
	return out, nil
}

// argument returns an argument of an action. One that is named like a field is
// written to it, so that to whom the field is not shown it is no argument.
func argument(t *entity.Type, a *entity.Action, name string, seen entity.Mask) (*entity.Field, error) {
	i := slices.IndexFunc(a.Args, func(f *entity.Field) bool { return f.Name == name })
	f := t.Field(name)
	if i < 0 || f != nil && !seen.Has(f.No) && !mutant.On(mutant.ArgumentUnseen) {
		return nil, fault.Newf(fault.UnknownField, "%s takes no %q.", a.Name, name).OnField(name)
	}
	return a.Args[i], nil
}

// arguments reads what an action on a record is given by somebody who sees the
// fields in seen of it.
func (r *run) arguments(t *entity.Type, a *entity.Action, in command.Object, seen entity.Mask) (entity.Args, error) {
	args := entity.Args{}
	for _, name := range ascending(in) {
		f, err := argument(t, a, name, seen)
		if err != nil {
			return nil, err
		}
		v, err := f.Normalize(in[name])
		if err != nil {
			return nil, err
		}
		args[name] = v
		if v.IsNull() || a.Assigns == name { // whom work is given to is judged by assignable
			continue
		}
		switch f.Kind {
		case entity.Ref:
			err = r.target(nil, f, v.Ref())
		case entity.Refs:
			for _, id := range v.Set() {
				if err = r.target(nil, f, ident.RecordID(id)); err != nil {
					break
				}
			}
		case entity.Lines:
			err = r.referLines(nil, f, v)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, f := range a.Args {
		if f.Required && !args.Has(f.Name) {
			return nil, fault.Newf(fault.MissingField, "%s is required.", f.Name).OnField(f.Name)
		}
	}
	return args, nil
}

// refer checks the references among the written fields: absent, of another
// type and hidden are the same answer.
func (r *run) refer(rec *entity.Record, dirty entity.Mask) error {
	for _, c := range rec.Cells {
		f := rec.Type.FieldNo(c.No)
		if !dirty.Has(c.No) || c.Value.IsNull() || f.No > entity.MaxFieldNo {
			continue
		}
		switch f.Kind {
		case entity.Ref:
			if err := r.target(rec, f, c.Value.Ref()); err != nil {
				return err
			}
		case entity.Refs:
			for _, id := range c.Value.Set() {
				if err := r.target(rec, f, ident.RecordID(id)); err != nil {
					return err
				}
			}
		case entity.Lines:
			if err := r.referLines(rec, f, c.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) referLines(rec *entity.Record, f *entity.Field, v entity.Value) error {
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(v, &rows); err != nil {
		return fault.New(fault.BadValue).OnField(f.Name)
	}
	for _, row := range rows {
		for _, it := range f.Items {
			if raw := row[it.Name]; it.Kind == entity.Ref && raw != nil {
				if err := r.target(rec, it, entity.Value(raw).Ref()); err != nil {
					return fault.Of(err).OnField(f.Name + "." + it.Name)
				}
			}
		}
	}
	return nil
}

func (r *run) target(rec *entity.Record, f *entity.Field, id ident.RecordID) error {
	bad := fault.New(fault.BadReference).OnField(f.Name)
	t, ok := r.w.Load(id)
	if !ok || (len(f.Targets) > 0 && !slices.Contains(f.Targets, t.Type.Name)) {
		return bad
	}
	tc, rc := t.Client(), ident.RecordID("")
	if rec != nil {
		rc = clientFor(r, rec)
	}
	// Nothing refers across clients, its own people among them: what belongs to
	// one stays with it, so that a record never names what its reader may not
	// know of.
	elsewhere := rec != nil && tc != "" && tc != rc && f.Name != rec.Type.Root
	if t.Type.Name == subject.Employee {
		if elsewhere && !personal(rec.Type) {
			return bad
		}
		// People may be named by whoever knows their id, if they may know of
		// the record's client themselves.
		if r.sub != nil {
			who := r.subject(id)
			if who == nil || r.sub.Hides(tc) || (rec != nil && who.Hides(rc)) {
				return bad
			}
		}
		return nil
	}
	if r.sub != nil && r.sub.Sees(t, &r.w.Reader).Mask == 0 && !mutant.On(mutant.ReferToHidden) {
		return bad
	}
	switch {
	case !elsewhere:
	case rc != "":
		return bad
	case rec.Type.Root != "":
		// A record that could belong to a client and does not refers to none's.
		return fault.Newf(fault.MissingField, "%s belongs to a client; say which in %s.", f.Name, rec.Type.Root).OnField(rec.Type.Root)
	}
	return nil
}

// personal reports whether records of the type are their maker's own, so that
// naming the maker tells nobody else anything.
func personal(t *entity.Type) bool {
	return t.In(entity.Everyone) || (t.Field("visibility") != nil && t.Field("owner") != nil)
}

// clientFor returns a record's client, of a draft that has none yet too.
func clientFor(r *run, rec *entity.Record) ident.RecordID {
	if c := rec.Client(); c != "" || rec.Type.Root == "" {
		return c
	}
	if p, ok := r.w.Load(rec.RootOf()); ok {
		return p.Client()
	}
	return ""
}

// freshID derives an id that was never used from the command's randomness.
func (r *run) freshID() ident.RecordID {
	for {
		r.ids++
		h := sha256.New()
		h.Write(r.cmd.Seed)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(r.ids)))
		var b [15]byte
		copy(b[:], h.Sum(nil))
		id := ident.NewRecordID(b)
		if _, used := r.w.Identify(id); !used {
			return id
		}
	}
}
