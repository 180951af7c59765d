package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/sync/apply"
)

const (
	headerKey    = "Idempotency-Key"
	maxKeyLength = 200
	maxBulk      = 500
)

// members reads the body as one JSON object; a route whose body may be left
// out passes optional. The members don't alias the request.
func members(c *fiber.Ctx, optional bool) (strictjson.Fields, []byte, error) {
	if optional && len(c.Request().Body()) == 0 {
		return nil, nil, nil
	}
	b, err := edge.Body(c)
	if err != nil {
		return nil, nil, err
	}
	b = bytes.Clone(b)
	f, err := strictjson.Object(b)
	return f, b, err
}

func object(f strictjson.Fields) command.Object {
	o := make(command.Object, len(f))
	for _, m := range f {
		o[m.Key] = m.Raw
	}
	return o
}

// write makes one change of one record.
func (s *Server) write(c *fiber.Ctx, caller *edge.Caller, a entity.App, t *entity.Type, k Kind, action, base string) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	w := &command.Write{App: string(a), Type: t.Name, ID: ident.RecordID(c.Params("id")), Action: action}
	var body []byte
	var err error
	var f strictjson.Fields
	if k != Delete {
		if f, body, err = members(c, k == Action); err != nil {
			return err
		}
	}
	switch k {
	case Create:
		w.Op, w.Fields = "create", object(f)
		if raw, ok := w.Fields["id"]; ok {
			var id string
			if err := json.Unmarshal(raw, &id); err != nil || id == "" {
				return fault.New(fault.BadID).OnField("id")
			}
			w.ID = ident.RecordID(id)
			delete(w.Fields, "id")
		}
	case Patch:
		w.Op, w.Fields = "patch", object(f)
	case Delete:
		w.Op = "delete"
	case Action:
		w.Op, w.Args = "action", object(f)
	}
	if k != Create {
		if w.IfMatch, err = ifMatch(c.Get(fiber.HeaderIfMatch)); err != nil {
			return err
		}
	}
	if w.Key, w.KeyHash, err = idempotency(c, body); err != nil {
		return err
	}
	if k == Create || k == Patch {
		if err := s.examine(caller, t, w.ID, w.Fields); err != nil {
			return err
		}
	}
	cmd := caller.Command()
	cmd.Write = w
	res, err := s.submit(caller, cmd)
	if err != nil {
		return err
	}
	if k == Delete || res.Body == nil {
		return c.SendStatus(fiber.StatusNoContent)
	}
	c.Set(fiber.HeaderETag, etag(res.Rev))
	if k == Create {
		c.Set(fiber.HeaderLocation, base+"/"+string(res.ID))
		return sendJSON(c, fiber.StatusCreated, res.Body)
	}
	return sendJSON(c, fiber.StatusOK, res.Body)
}

func (s *Server) submit(caller *edge.Caller, cmd *command.Command) (apply.Result, error) {
	// The request's own context ends with the connection's buffers; a write
	// that was taken is carried out in any case.
	p := patience{Context: context.Background(), wait: s.timeout}
	defer p.end()
	return caller.Tenant.Submit(&p, cmd)
}

// patience is a context that ends a while after it was first asked when it does.
// Nearly every write is taken at once and needs no timer. It is for one goroutine.
type patience struct {
	context.Context
	wait time.Duration
	stop context.CancelFunc // once the time runs
}

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} {
	if p.stop == nil {
		p.Context, p.stop = context.WithTimeout(p.Context, p.wait)
	}
	return p.Context.Done()
}

func (p *patience) end() {
	if p.stop != nil {
		p.stop()
	}
}

// ifMatch reads an If-Match header: one rev, quoted as the ETag is or bare;
// "*" asks for nothing, since a record that is not there is refused anyway.
func ifMatch(header string) (string, error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return "", nil
	}
	rev := header
	if len(rev) >= 2 && rev[0] == '"' && rev[len(rev)-1] == '"' {
		rev = rev[1 : len(rev)-1]
	}
	if rev == "" || strings.ContainsAny(rev, `", `) || len(rev) > 100 {
		return "", badParameter("If-Match", "If-Match takes one rev, as the ETag has it, or *.")
	}
	return rev, nil
}

// idempotency reads the Idempotency-Key and names the request it came with.
func idempotency(c *fiber.Ctx, body []byte) (string, []byte, error) {
	key := strings.TrimSpace(c.Get(headerKey))
	if key == "" {
		return "", nil, nil
	}
	if len(key) > maxKeyLength || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", nil, badParameter(headerKey, "An idempotency key is up to %d printable ASCII characters.", maxKeyLength)
	}
	h := sha256.New()
	for _, part := range []string{c.Method(), c.Path()} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	if len(body) > 0 {
		canonical, err := strictjson.Canonical(body)
		if err != nil {
			return "", nil, err
		}
		h.Write(canonical)
	}
	return key, h.Sum(nil), nil
}

// bulkItem answers one record of a bulk action.
type bulkItem struct {
	ID      ident.RecordID `json:"id"`
	Status  string         `json:"status"` // applied or refused
	Code    fault.Code     `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	// Records answers each record that the action was to do something to for
	// this one.
	Records []bulkItem `json:"records,omitempty"`
}

// bulkItems are the answers as they are told.
func bulkItems(items []apply.BulkItem) []bulkItem {
	out := make([]bulkItem, len(items))
	for i, b := range items {
		out[i] = bulkItem{ID: b.ID, Status: "applied", Records: bulkItems(b.Each)}
		if e := fault.Of(b.Err); e != nil {
			out[i].Status, out[i].Code, out[i].Message = "refused", e.Code, e.Message
		}
	}
	return out
}

// bulk does one action to many records, each judged on its own.
func (s *Server) bulk(c *fiber.Ctx, caller *edge.Caller, a entity.App, t *entity.Type, action string) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	f, body, err := members(c, false)
	if err != nil {
		return err
	}
	args := object(f)
	var ids []ident.RecordID
	raw, ok := args["ids"]
	if !ok {
		return fault.Newf(fault.MissingField, "ids is required.").OnField("ids")
	}
	if err := json.Unmarshal(raw, &ids); err != nil || len(ids) == 0 || len(ids) > maxBulk || slices.Contains(ids, "") {
		return fault.Newf(fault.BadValue, "ids must be a list of 1 to %d ids.", maxBulk).OnField("ids")
	}
	seen := map[ident.RecordID]bool{}
	for _, id := range ids {
		if seen[id] {
			return fault.Newf(fault.BadValue, "An id stands twice in ids.").OnField("ids")
		}
		seen[id] = true
	}
	delete(args, "ids")
	cmd := caller.Command()
	cmd.Bulk = &command.Bulk{App: string(a), Type: t.Name, Action: action, IDs: ids, Args: args}
	if cmd.Bulk.Key, cmd.Bulk.KeyHash, err = idempotency(c, body); err != nil {
		return err
	}
	res, err := s.submit(caller, cmd)
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"results": bulkItems(res.Bulk)})
}
