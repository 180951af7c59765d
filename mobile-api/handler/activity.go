package handler

import (
	"slices"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
)

// schedule is a span of somebody's work.
type schedule struct {
	From        string   `json:"from"`
	To          string   `json:"to"`
	Activities  []bundle `json:"activities"`
	Unscheduled []bundle `json:"unscheduled"`
}

func (s *Server) day(c *fiber.Ctx, v *view) (any, error)  { return s.span(c, v, "date", 1) }
func (s *Server) week(c *fiber.Ctx, v *view) (any, error) { return s.span(c, v, "from", 7) }

// span answers own activities within days, ordered by time, and open ones
// without a time apart. Those of people one acts for are among them.
func (s *Server) span(c *fiber.Ctx, v *view, param string, n int) (any, error) {
	from, to, err := days(c, v, param, n)
	if err != nil {
		return nil, err
	}
	t := v.Cat.Type(typeActivity)
	planned, unplanned := v.work(v.having(t, "assignee", v.self()), from, to)
	return schedule{from.RFC3339(), to.RFC3339(), v.all(planned), v.all(unplanned)}, nil
}

// work splits activities that the person sees in lists into those that are
// scheduled to take time of the span, and open ones that are not scheduled.
func (v *view) work(among bits.Set, from, to ident.Millis) (planned, unplanned []*shown) {
	planned, unplanned = []*shown{}, []*shown{}
	for o := range among.All() {
		rec, ok := v.LoadOrd(o)
		if !ok {
			continue
		}
		a := v.show(rec)
		if a == nil || a.sight.Context {
			continue
		}
		start, begun := a.time("scheduledStart")
		end, ended := a.time("scheduledEnd")
		switch {
		case begun && start < to && (start >= from || ended && end > from):
			planned = append(planned, a)
		case !begun && slices.Contains(rec.Type.Status.Open, a.get(rec.Type.Status.Field).Text()):
			unplanned = append(unplanned, a)
		}
	}
	byTime(planned)
	return planned, unplanned
}

// maxHistory bounds the earlier visits to an asset that are told.
const maxHistory = 20

// filled is a checklist with what was answered to it in one activity.
type filled struct {
	Checklist *shown   `json:"checklist"`
	Answers   []*shown `json:"answers"`
}

// activity answers an activity with all that belongs to it, as far as the person
// sees it.
func (s *Server) activity(c *fiber.Ctx, v *view) (any, error) {
	if _, err := parameters(c); err != nil {
		return nil, err
	}
	a, err := v.find(typeActivity, ident.RecordID(c.Params("id")))
	if err != nil {
		return nil, err
	}
	v.etag = a.rev
	out := v.brought(a)
	id := a.rec.ID
	answers := v.under(typeAnswer, "activity", id)
	lists := []filled{}
	for _, ref := range a.get("checklists").Set() {
		rec, ok := v.Load(ident.RecordID(ref))
		if !ok {
			continue
		}
		list := v.show(rec)
		if list == nil {
			continue
		}
		one := filled{list, []*shown{}}
		for _, x := range answers {
			if x.get("checklist").Ref() == rec.ID {
				one.Answers = append(one.Answers, x)
			}
		}
		lists = append(lists, one)
	}
	out.add("checklists", lists)
	out.add("timeEntries", v.under(typeTime, "activity", id))
	out.add("partsUsed", v.under(typePart, "activity", id))
	out.add("signatures", v.under(typeSignature, "activity", id))
	out.add("documents", v.under(typeDocument, "parent", id))
	out.add("comments", v.under(typeComment, "parent", id))
	out.add("assetHistory", v.history(a))
	return out, nil
}

// history returns earlier activities at the asset of an activity's job, the
// newest first.
func (v *view) history(a *shown) []*shown {
	out := []*shown{}
	asset := v.named(v.named(a, "job"), "asset")
	if asset == nil {
		return out
	}
	for _, job := range v.under("job", "asset", asset.rec.ID) {
		for _, one := range v.under(typeActivity, "job", job.rec.ID) {
			if one.rec.ID != a.rec.ID && earlier(one, a) {
				out = append(out, one)
			}
		}
	}
	byTime(out)
	slices.Reverse(out)
	return out[:min(len(out), maxHistory)]
}

// earlier reports whether an activity was before another: it is over, or was
// scheduled before.
func earlier(one, a *shown) bool {
	status := one.rec.Type.Status
	if s := one.get(status.Field).Text(); s != "" && !slices.Contains(status.Open, s) {
		return true
	}
	x, ok := one.time("scheduledStart")
	y, ok2 := a.time("scheduledStart")
	return ok && ok2 && x < y
}

// van returns the person's own van, "" where there is none or no single one.
func (v *view) van() ident.RecordID {
	agent, warehouse := v.Cat.Type(typeAgent), v.Cat.Type(typeWarehouse)
	for _, s := range v.among(v.Referring(agent, agent.Field("employee").No, v.sub.ID)) {
		if own := v.named(s, "warehouse"); own != nil {
			return own.rec.ID
		}
	}
	own := v.among(v.Referring(warehouse, warehouse.Field("custodian").No, v.sub.ID))
	own = slices.DeleteFunc(own, func(s *shown) bool { return s.rec.Archived() })
	if len(own) != 1 {
		return ""
	}
	return own[0].rec.ID
}

func (v *view) among(set bits.Set) []*shown {
	var out []*shown
	for o := range set.All() {
		if rec, ok := v.LoadOrd(o); ok {
			if s := v.show(rec); s != nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// fromVan takes parts from the own van where nothing else is said; null says
// that they came from nowhere.
func (s *Server) fromVan(v *view, b *body) error {
	if _, said := b.fields["warehouse"]; said {
		return nil
	}
	if van := v.van(); van != "" {
		b.fields["warehouse"] = []byte(entity.RefValue(van))
	}
	return nil
}

// signedNow dates a signature that says no time.
func signedNow(v *view, b *body) error {
	if _, said := b.fields["signedAt"]; !said {
		b.fields["signedAt"] = []byte(entity.TimeValue(b.when(v)))
	}
	return nil
}

// when is the time of what was done: as said, and never later than now.
func (b *body) when(v *view) ident.Millis {
	if b.at == 0 {
		return v.now()
	}
	return min(b.at, v.now())
}
