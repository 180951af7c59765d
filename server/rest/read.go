package rest

import (
	"container/list"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/project"
	"satchel/sync/scope"
	"satchel/sync/tenant"
)

func notFound() error { return fault.New(fault.NotFoundCode) }

// see returns a record of the type that the person sees, and what of it.
// Hidden, absent, of another type and context-only without a parent that the
// person sees are one answer.
func see(v *tenant.View, sub *policy.Subject, t *entity.Type, id ident.RecordID) (*entity.Record, policy.Sight, error) {
	rec, ok := v.Load(id)
	if !ok || rec.Type != t {
		return nil, policy.Sight{}, notFound()
	}
	sight := sub.Sees(rec, v.Reader)
	if sight.Mask == 0 && mutant.On(mutant.HiddenForbidden) {
		return nil, policy.Sight{}, fault.New(fault.NotAllowed)
	}
	if sight.Mask == 0 {
		return nil, policy.Sight{}, notFound()
	}
	return rec, sight, nil
}

// get answers one record.
func (s *Server) get(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	id := ident.RecordID(c.Params("id"))
	var body []byte
	var rev project.Rev
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		rec, sight, err := see(v, sub, t, id)
		if err != nil {
			return err
		}
		var p project.Projector
		body, rev, err = p.AppendREST(nil, v.Bytes(rec.Ord), rec.ID, sight.Mask, sight.Context)
		return err
	})
	if err != nil {
		return err
	}
	tag := etag(rev.String())
	c.Set(fiber.HeaderETag, tag)
	if matches(c.Get(fiber.HeaderIfNoneMatch), tag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	return sendJSON(c, fiber.StatusOK, body)
}

func etag(rev string) string { return `"` + rev + `"` }

// matches compares an If-None-Match header, weakly as it is meant to be.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

func sendJSON(c *fiber.Ctx, status int, body []byte) error {
	return edge.JSON(c, status, body)
}

// list answers a root list: context-only records don't stand in it.
func (s *Server) list(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	params, err := parameters(c, "limit", "cursor", "sort", "filter", "q", "archived", "saved")
	if err != nil {
		return err
	}
	body, err := s.page(caller, t, func(v *tenant.View, sub *policy.Subject) (*query, error) {
		known, err := listed(sub, t, false)
		if err != nil {
			return nil, err
		}
		params, err := saved(v, sub, t, params)
		if err != nil {
			return nil, err
		}
		q, err := parse(t, known, params)
		if err != nil {
			return nil, err
		}
		q.bind(s.sealer, caller, "")
		return q, nil
	})
	if err != nil {
		return err
	}
	return sendJSON(c, fiber.StatusOK, body)
}

// children answers what stands beneath a record that the person sees; records
// that are context-only are among it.
func (s *Server) children(c *fiber.Ctx, caller *edge.Caller, t, child *entity.Type, fields []*entity.Field) error {
	params, err := parameters(c, "limit", "cursor", "sort", "filter", "q", "archived")
	if err != nil {
		return err
	}
	id := ident.RecordID(c.Params("id"))
	body, err := s.page(caller, child, func(v *tenant.View, sub *policy.Subject) (*query, error) {
		parent, _, err := see(v, sub, t, id)
		if err != nil {
			return nil, err
		}
		known, err := listed(sub, child, true)
		if err != nil {
			return nil, err
		}
		q, err := parse(child, known, params)
		if err != nil {
			return nil, err
		}
		q.bind(s.sealer, caller, string(parent.ID))
		q.parent, q.by = parent.Ord, fields
		return q, nil
	})
	if err != nil {
		return err
	}
	return sendJSON(c, fiber.StatusOK, body)
}

// listed returns the fields of the type that some record may show the person.
// Where no grant lets the person see any, there is no list for them.
func listed(sub *policy.Subject, t *entity.Type, context bool) (entity.Mask, error) {
	var known entity.Mask
	for _, g := range sub.Grants(t, policy.View) {
		if !g.Context || context {
			known |= g.Mask
		}
	}
	gone, all := sub.Denied(t, policy.View)
	if known &^= gone; all || known == 0 {
		return 0, fault.New(fault.NotAllowed)
	}
	return known, nil
}

// visibleCache remembers sync sets of one type as of one position: people
// leaf through lists, and several ask for one.
type visibleCache struct {
	mu    sync.Mutex
	byKey map[visibleKey]*list.Element
	order list.List // of *visibleEntry, most recently used first
}

type visibleKey struct {
	tenant   ident.TenantID
	sub      *policy.Subject // one per person and policy version
	typ      uint16
	position ident.Position
}

type visibleEntry struct {
	key  visibleKey
	sets scope.Sets
}

// maxVisible bounds the sets remembered; most share their chunks.
const maxVisible = 256

func newVisibleCache() *visibleCache {
	return &visibleCache{byKey: map[visibleKey]*list.Element{}}
}

// of returns the parts of the type that the person sees.
func (c *visibleCache) of(ten *tenant.Tenant, v *tenant.View, sub *policy.Subject, t *entity.Type) scope.Sets {
	k := visibleKey{ten.ID(), sub, t.No, v.Position()}
	if mutant.On(mutant.StaleList) {
		k.position = 0
	}
	c.mu.Lock()
	if e, ok := c.byKey[k]; ok {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*visibleEntry).sets
	}
	c.mu.Unlock()
	sets := scope.VisibleOf(v.Reader, sub, t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[k]; !ok {
		c.byKey[k] = c.order.PushFront(&visibleEntry{k, sets})
		if c.order.Len() > maxVisible {
			last := c.order.Back()
			delete(c.byKey, c.order.Remove(last).(*visibleEntry).key)
		}
	}
	return sets
}
