package apply_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/pull"
	"satchel/sync/state"
	"satchel/sync/store"
)

// office is a world whose pages are computed and encoded once for all devices
// that get the same, or each by itself.
type office struct {
	*world
	alone  bool
	ahead  *apply.Ahead
	phones []*phone
	shared int // pages that had their body from another
}

func newOffice(t *testing.T, alone bool) *office {
	w := fieldOn(t, store.NewMem())
	rs := append(person("emp-mgr-2", "service.manager"), person("emp-rep-1", "service.sales-representative")...)
	for i := range 12 {
		rs = append(rs, row("site", ident.RecordID(fmt.Sprintf("site-%03d", i)), "client", []string{"client-one", "client-two"}[i%2], "name", "Site"))
	}
	w.load(rs...)
	o := &office{world: w, alone: alone, ahead: apply.NewAhead([32]byte{1})}
	for _, who := range []ident.RecordID{"emp-mgr-1", "emp-mgr-2", "emp-eng-1", "emp-eng-2", "emp-rep-1"} {
		o.phones = append(o.phones, w.signIn(who, "i0"), w.login(who, "i1"), w.login(who, "i2"))
	}
	// The machine that was used so far knows of no other way.
	o.m = apply.New(apply.Config{Cat: w.cat, Roles: w.roles, Alone: alone})
	o.m.OnCommit = func(_ oplog.Entry, res []apply.Result, _ apply.Effects) { w.res = res }
	var err error
	if o.log, err = oplog.Open(w.eng, o.m, oplog.Options{}); err != nil {
		t.Fatal(err)
	}
	o.m.SetEpoch(o.log.Epoch())
	return o
}

// asks is a pull of a phone.
type asks struct {
	phone int
	command.Pull
	full bool
}

func (a *asks) told() apply.Told {
	if a.full {
		return apply.ToldAll
	}
	return apply.ToldSmall
}

// pull answers the pulls as a tenant does: from the committed state as far as
// that can be done, the others in one entry. It returns what each is answered.
func (o *office) pull(list []asks) []string {
	out := make([]string, len(list))
	cmds := make([]*command.Command, len(list))
	asked := make([]apply.Asked, len(list))
	for i, a := range list {
		c := o.phones[a.phone].cmd()
		p := a.Pull
		c.Pull = &p
		asked[i], cmds[i] = o.ahead.Before(c), c
	}
	var left []int
	var bodies apply.Bodies
	o.reader(func(rd *state.Reader) {
		o.m.Rest(rd.KV())
		defer o.m.Leave()
		for i, c := range cmds {
			res, done := o.m.Peek(c)
			if !done {
				left = append(left, i)
				continue
			}
			out[i] = "peeked: " + o.answer(rd, list[i], asked[i], res, func(p *apply.Page) (*apply.Body, bool) { return bodies.Of(p, list[i].told()) })
		}
	})
	if len(left) == 0 {
		return out
	}
	var batch []*command.Command
	for _, i := range left {
		batch = append(batch, cmds[i])
	}
	results := o.entry(batch...)
	alike := map[*pull.Content]int{}
	for _, r := range results {
		if r.Page != nil && r.Page.Content != nil {
			alike[r.Page.Content]++
		}
	}
	bodies.Forget()
	o.reader(func(rd *state.Reader) {
		for n, i := range left {
			out[i] = o.answer(rd, list[i], asked[i], results[n], func(p *apply.Page) (*apply.Body, bool) {
				if alike[p.Content] < 2 {
					return nil, false
				}
				return bodies.Share(p, list[i].told())
			})
		}
	})
	return out
}

func (o *office) answer(rd *state.Reader, a asks, asked apply.Asked, res apply.Result, body func(*apply.Page) (*apply.Body, bool)) string {
	o.t.Helper()
	if res.Err != nil {
		return res.Err.Error()
	}
	p := res.Page
	phone := o.phones[a.phone]
	o.ahead.After(phone.id, asked, p)
	told := a.told()
	phone.cp = p.Checkpoint
	if o.alone {
		b, err := p.Encode(rd, nil, told)
		if err != nil {
			o.t.Fatal(err)
		}
		return string(b)
	}
	if p.Empty() && !a.full {
		return string(p.EncodeWith(o.cat, nil))
	}
	b, mine := body(p)
	switch {
	case b == nil:
		raw, err := p.Encode(rd, nil, told)
		if err != nil {
			o.t.Fatal(err)
		}
		return string(raw)
	case mine:
		b.Make(p, rd, nil, told)
	default:
		o.shared++
	}
	if err := b.Wait(); err != nil {
		o.t.Fatal(err)
	}
	return string(p.EncodeWith(o.cat, b))
}

// change is something that happens, drawn with one source for both offices.
func change(rng *rand.Rand, n int) *command.Command {
	id := ident.RecordID(fmt.Sprintf("site-%03d", rng.IntN(12)))
	switch rng.IntN(10) {
	case 0:
		return rows(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
			row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
	case 1:
		return write("emp-ada-1", command.Write{Op: "delete", Type: "visibilityRule", ID: "rule-eng-1"})
	case 2:
		return write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "assign", Args: obj("assignee", fmt.Sprint("emp-eng-", 1+rng.IntN(2)))})
	case 3:
		return write("emp-mgr-1", command.Write{Op: "delete", Type: "site", ID: id})
	case 4:
		return rows(row("site", ident.RecordID(fmt.Sprintf("site-%03d", 100+n)), "client", "client-two", "name", "New"))
	case 5:
		return rows(row("client", "client-two", "name", "two", "salesArea", []string{"area-north", "area-south"}[rng.IntN(2)]))
	default:
		return write("emp-mgr-1", command.Write{Op: "patch", Type: "site", ID: id, Fields: obj("name", fmt.Sprint("Site ", n))})
	}
}

// TestAlike: pages that are computed and encoded once for several devices are
// those that each would have got by itself, byte for byte, and leave the same.
func TestAlike(t *testing.T) {
	shared := 0
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 1))
		one, each := newOffice(t, false), newOffice(t, true)
		tokens := make([]string, len(one.phones)) // that the phones have
		for n := range 30 {
			if rng.IntN(3) > 0 {
				c := change(rng, n)
				a, b := *c, *c
				one.do(&a)
				each.do(&b)
			}
			var list []asks
			for i, cp := range tokens {
				if rng.IntN(8) == 0 {
					continue
				}
				a := asks{phone: i, full: rng.IntN(4) == 0}
				a.Checkpoint, a.Changes = cp, rng.IntN(2) == 0
				if rng.IntN(20) == 0 {
					a.Limit = 7
				}
				switch rng.IntN(40) {
				case 0:
					a.Checkpoint = ""
				case 1:
					a.Checkpoint = "not.known"
				case 2:
					a.Heal = []string{"site"}
				case 3:
					a.Pins = &[]ident.Ref{{Type: "site", ID: "site-001"}}
				case 4:
					a.Window = &command.Window{From: 1, To: ident.Millis(2 + n)}
				}
				list = append(list, a)
			}
			got, want := one.pull(list), each.pull(list)
			for i, a := range list {
				if got[i] != want[i] {
					t.Fatalf("seed %d, step %d, phone %d:\n%s\nby itself:\n%s", seed, n, a.phone, got[i], want[i])
				}
				if rng.IntN(20) > 0 { // it arrived
					tokens[a.phone] = one.phones[a.phone].cp
				}
			}
		}
		shared += one.shared
		one.reader(func(a *state.Reader) {
			each.reader(func(b *state.Reader) {
				if !bytes.Equal(dump(a.KV()), dump(b.KV())) {
					t.Fatalf("seed %d: what is stored differs", seed)
				}
			})
		})
	}
	if shared < 300 {
		t.Errorf("only %d pages were shared", shared)
	}
}
