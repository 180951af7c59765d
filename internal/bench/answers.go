package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/server/session/password"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// The tenant of whatif and areas: ten users with an area of a tenth of the
// records each, and a tenant-made role that many more people hold and that lets
// them see everything.
const (
	largeAreas = 10
	// roleHolders is how many people hold the role, each with a device; the first
	// wholeDevices of these hold all records, the others as many as fit on a
	// page.
	roleHolders  = 100
	wholeDevices = 3
	// explained is how many questions a run of explain asks.
	explained = 400
	// plainWrites is how many ordinary writes a run of areas compares with.
	plainWrites = 40
	// areaWait bounds how long a device takes to get an area.
	areaWait = 2 * time.Minute
)

func deskRole() ident.RecordID { return key("desk role") }

// explains is explain: questions about one record after the other, by an
// administrator about others and by a person about themselves.
func (b *bench) explains(ctx context.Context) error {
	admin, err := b.http.token(b.world.admin)
	if err != nil {
		return err
	}
	own, err := b.http.token(b.world.phones[0][0])
	if err != nil {
		return err
	}
	for _, q := range []struct{ name, path, access string }{
		{"explain", "/v1/admin/explain?principal=" + string(b.world.people[0]) + "&", admin},
		{"explainself", "/v1/explain?", own},
	} {
		var took []float64
		for n := range b.Runs*explained + explained/4 {
			if err := ctx.Err(); err != nil {
				return err
			}
			id := b.world.areas[0].assets[n%len(b.world.areas[0].assets)]
			action := []string{"view", "edit", "archive"}[n%3]
			sent := time.Now()
			err := b.http.send(http.MethodGet, q.path+"action="+action+"&type=asset&id="+string(id), q.access, nil, nil)
			if err != nil {
				return err
			}
			if n >= explained/4 { // the first warm what all share
				took = append(took, ms(time.Since(sent)))
			}
		}
		b.many(q.name, "ms", took)
	}
	return nil
}

// largeTenant builds the tenant of whatif and areas and starts its server, once.
func (b *bench) largeTenant(ctx context.Context) (*bench, error) {
	if b.large != nil {
		return b.large, nil
	}
	cfg := b.Config
	cfg.Users = largeAreas
	l := &bench{Config: cfg, dir: filepath.Join(b.Folder, "answers")}
	b.say("answers: building %d records", b.Large)
	if err := l.buildLarge(ctx); err != nil {
		return nil, err
	}
	b.large = l // stopped with b
	return l, l.restart(ctx)
}

func (b *bench) buildLarge(ctx context.Context) (err error) {
	t, closing, err := b.create(b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing()) }()
	if b.world, _, err = build(ctx, t, shape{records: b.Large, users: b.Users, devices: devicesPerUser}); err != nil {
		return err
	}
	return b.desks(ctx, t)
}

// desks adds the people who hold the role, each signed in on a device.
func (b *bench) desks(ctx context.Context, t *tenant.Tenant) error {
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, rand.Text())
	if err != nil {
		return err
	}
	l := &loader{ctx: ctx, t: t, room: make(chan struct{}, 16)}
	l.add(row("organizationalRole", deskRole(), "name", "Desk", "baseRoles", `["service.guest"]`))
	for n := range roleHolders {
		id := key("desk %d", n)
		l.add(row("employee", id, "name", fmt.Sprintf("Desk %d", n), "email", fmt.Sprintf("desk.%d@example.com", n), "kind", "in-house", "status", "Active"))
	}
	if err := l.flush(); err != nil {
		return err
	}
	var secret token.RefreshKey
	if err := t.Read(func(v *tenant.View) error {
		secret = token.RefreshKey(apply.DerivedKey(v.Reader, "refresh"))
		return nil
	}); err != nil {
		return err
	}
	for n := range roleHolders {
		id := key("desk %d", n)
		l.add(row("roleAssignment", key("role of %s", id), "employee", string(id), "role", string(deskRole())))
		l.submit(&command.Command{Secret: &command.Secret{Employee: id, Hash: hash}})
	}
	if err := l.flush(); err != nil {
		return err
	}
	for n := range roleHolders {
		session := ident.SessionID(fmt.Sprintf("%s_desk%d", slug, n))
		var random [32]byte
		t.Random(random[:])
		first, err := secret.NewRefresh(random, session)
		if err != nil {
			return err
		}
		l.submit(&command.Command{Login: &command.Login{
			Employee: key("desk %d", n), Credential: apply.CredentialDigest(hash), Session: session, First: refresh.Hash(first),
			Prefix: ident.NewPrefix([5]byte(random[:5])),
			Device: &command.Device{Installation: fmt.Sprintf("desk-%d", n), Incarnation: "1", Name: "Desk", Platform: "android"},
		}})
		b.desk = append(b.desk, &account{refresh: first})
	}
	return l.flush()
}

// foretold is what a client reads of an answer to a what-if.
type foretold struct {
	Accepted bool
	Total    struct{ People, Devices int }
	People   []struct {
		Arrives, Leaves struct {
			Total int
			Types map[string]int
		}
		Changed int
	}
}

// whatIfs is whatif: changes of the role that a hundred people hold.
func (b *bench) whatIfs(ctx context.Context) error {
	l, err := b.largeTenant(ctx)
	if err != nil {
		return err
	}
	if err := l.fillDesks(ctx); err != nil {
		return err
	}
	admin, err := l.http.token(l.world.admin)
	if err != nil {
		return err
	}
	assets := 0
	for _, a := range append(l.world.areas, l.world.public) {
		assets += len(a.assets)
	}
	for _, q := range []struct {
		name, fields string
		right        func(foretold) bool
	}{
		// All records leave everybody; some fields of all are seen no more.
		{"whatif", `{"baseRoles":["debtors.operations"]}`, func(f foretold) bool { return f.People[0].Leaves.Types["asset"] == assets }},
		{"whatifcut", `{"cutFields":["asset.notes"]}`, func(f foretold) bool { return f.People[0].Changed >= assets }},
	} {
		body := []byte(`{"change":{"op":"patch","type":"organizationalRole","id":"` + string(deskRole()) + `","fields":` + q.fields + `}}`)
		var took []float64
		for n := range b.Runs + 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			var f foretold
			sent := time.Now()
			err := l.http.send(http.MethodPost, "/v1/admin/what-if?limit=200", admin, body, func(b []byte) error { return json.Unmarshal(b, &f) })
			if err != nil {
				return err
			}
			if n > 0 {
				took = append(took, ms(time.Since(sent)))
			}
			if !f.Accepted || f.Total.People != roleHolders || len(f.People) != roleHolders || f.Total.Devices == 0 || !q.right(f) {
				return fmt.Errorf("%s: accepted %v, %+v, not what the change does", q.name, f.Accepted, f.Total)
			}
		}
		b.many(q.name, "ms", took)
	}
	return nil
}

// fillDesks lets the devices of the role's holders pull, once: the first few to
// the end, the others a page.
func (b *bench) fillDesks(ctx context.Context) error {
	if b.filled {
		return nil
	}
	b.filled = true
	b.say("whatif: %d devices pull, %d of them everything", roleHolders, wholeDevices)
	for n, a := range b.desk {
		if err := ctx.Err(); err != nil {
			return err
		}
		access, err := b.http.token(a)
		if err != nil {
			return err
		}
		if n < wholeDevices {
			if _, err := b.http.sync(access, "", fullLimit); err != nil {
				return err
			}
			continue
		}
		cp := ""
		for range 2 { // the second acknowledges the first
			body := fmt.Appendf(nil, `{"checkpoint":"%s","limit":%d}`, cp, fullLimit)
			err := b.http.send(http.MethodPost, "/sync/v1/pull", access, body, func(raw []byte) error {
				p, err := scan(raw)
				cp = p.checkpoint
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// observed returns a person's device, live and up to date, and the access token
// of the administrator who is to change what it may have.
func (b *bench) observed(ctx context.Context, who *account) (p *phone, admin string, err error) {
	if admin, err = b.http.token(b.world.admin); err != nil {
		return nil, "", err
	}
	access, err := b.http.token(who)
	if err != nil {
		return nil, "", err
	}
	p, err = connect(ctx, b.server.address, access, "")
	return p, admin, err
}

// areaRights is areas: the right to an area with a tenth of all records is
// taken from a person with one live device, and given back.
func (b *bench) areaRights(ctx context.Context) error {
	l, err := b.largeTenant(ctx)
	if err != nil {
		return err
	}
	const user = 0
	b.say("areas: a device pulls %d records", len(l.world.areas[user/2].assets))
	p, admin, err := l.observed(ctx, l.world.phones[user][0])
	if err != nil {
		return err
	}
	defer p.close()
	person := "/v1/admin/employees/" + string(l.world.people[user])
	write := func(body string) (float64, error) {
		sent := time.Now()
		err := l.http.send(http.MethodPatch, person, admin, []byte(body), nil)
		return ms(time.Since(sent)), err
	}
	var plain []float64
	for n := range b.Runs * plainWrites {
		took, err := write(fmt.Sprintf(`{"title":"Title %d"}`, n))
		if err != nil {
			return err
		}
		plain = append(plain, took)
		time.Sleep(pause)
	}
	ordinary := line("areawrite", "ms", plain)
	b.Report(ordinary)
	need := len(l.world.areas[user/2].assets) + clientsPerArea
	for _, give := range []bool{false, true} {
		name, count := "arearevoke", removed
		if give {
			name, count = "areagrant", records
		}
		var applied, first, all []float64
		for range b.Runs {
			if err := ctx.Err(); err != nil {
				return err
			}
			if give { // it was left given back
				if err := l.move(p, removed, need, func() error { _, err := write(`{"salesAreas":` + l.world.areasOf(user, false) + `}`); return err }, nil); err != nil {
					return err
				}
			}
			var took float64
			var at [2]float64
			err := l.move(p, count, need, func() (err error) {
				took, err = write(`{"salesAreas":` + l.world.areasOf(user, give) + `}`)
				return err
			}, &at)
			if err != nil {
				return err
			}
			applied, first, all = append(applied, max(took-ordinary.Value, 0)), append(first, at[0]), append(all, at[1])
			if !give {
				if err := l.move(p, records, need, func() error { _, err := write(`{"salesAreas":` + l.world.areasOf(user, true) + `}`); return err }, nil); err != nil {
					return err
				}
			}
		}
		b.many(name, "ms", applied)
		b.many(name+"first", "ms", first)
		b.many(name+"all", "ms", all)
	}
	return nil
}

// allRights is everything: the role by which a person with one live device sees
// every record is taken, and given again.
func (b *bench) allRights(ctx context.Context) error {
	l, err := b.largeTenant(ctx)
	if err != nil {
		return err
	}
	b.say("everything: a device pulls %d records", l.Large)
	p, admin, err := l.observed(ctx, l.desk[0])
	if err != nil {
		return err
	}
	defer p.close()
	const roles = "/v1/admin/role-assignments"
	who := key("desk 0")
	held := key("role of %s", who)
	take := func() error { return l.http.send(http.MethodDelete, roles+"/"+string(held), admin, nil, nil) }
	give := func() error {
		body := fmt.Appendf(nil, `{"employee":%q,"role":%q}`, who, deskRole())
		return l.http.send(http.MethodPost, roles, admin, body, func(raw []byte) error {
			var made struct{ ID ident.RecordID }
			err := json.Unmarshal(raw, &made)
			held = made.ID
			return err
		})
	}
	var first, all [2][]float64
	for range b.Runs {
		for i, x := range []struct {
			count  func(page) int
			change func() error
		}{{removed, take}, {records, give}} {
			if err := ctx.Err(); err != nil {
				return err
			}
			var at [2]float64
			if err := l.move(p, x.count, l.Large, x.change, &at); err != nil {
				return err
			}
			first[i], all[i] = append(first[i], at[0]), append(all[i], at[1])
		}
	}
	for i, name := range []string{"everythingrevoke", "everythinggrant"} {
		b.many(name+"first", "ms", first[i])
		b.many(name+"all", "ms", all[i])
	}
	return nil
}

// move makes a change and waits until the device has, or has given up, so many
// records. at, where given, gets the ms to the end of the first page and of
// the last.
func (b *bench) move(p *phone, count func(page) int, need int, change func() error, at *[2]float64) error {
	var mu sync.Mutex
	done := make(chan struct{})
	n := 0
	var first, last time.Time
	f := func(_ *phone, got page, now time.Time) {
		mu.Lock()
		defer mu.Unlock()
		k := count(got)
		if k == 0 || n >= need {
			return
		}
		if n == 0 {
			first = now
		}
		if n += k; n >= need {
			last = now
			close(done)
		}
	}
	p.onPage.Store(&f)
	began := time.Now()
	if err := change(); err != nil {
		return err
	}
	select {
	case <-done:
	case <-p.done:
		return fmt.Errorf("the device lost its connection: %w", p.failed)
	case <-time.After(areaWait):
		mu.Lock()
		defer mu.Unlock()
		return fmt.Errorf("after %v %d of %d records had moved", areaWait, n, need)
	}
	time.Sleep(200 * time.Millisecond) // the last acknowledgement, and a breath
	if at != nil {
		*at = [2]float64{ms(first.Sub(began)), ms(last.Sub(began))}
	}
	return nil
}
