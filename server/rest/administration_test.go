package rest_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/tenant"
)

const roleClients = "/v1/admin/organizational-role-clients"

// made makes a record and returns its id.
func made(t *testing.T, w *world, who ident.RecordID, path string, kv ...any) string {
	t.Helper()
	id, _ := w.HTTP(who, "POST", path, Object(kv...)).Want(t, 201, "").Object(t)["id"].(string)
	return id
}

// limited makes an organizational role of a service manager that reaches the
// clients alone, and somebody who holds nothing else. It returns the role and
// its rows.
func limited(t *testing.T, w *world, clients ...ident.RecordID) (role string, rows []string) {
	t.Helper()
	role = made(t, w, Admin, orgRoles, "name", "Account desk", "baseRoles", []string{"service.manager"}, "limitClients", true)
	for _, c := range clients {
		rows = append(rows, made(t, w, Admin, roleClients, "role", role, "client", c))
	}
	w.Person("emp-limited", role)
	return role, rows
}

// TestRoleOfClients: a role that is limited to clients gives nothing of any
// other, on a device either; the last one taken leaves none.
func TestRoleOfClients(t *testing.T) {
	const who ident.RecordID = "emp-limited"
	w := newWorld(t)
	role, rows := limited(t, w, Acme, Corp)
	takes(t, w,
		get(who, jobs).shows("job-acme-1", "job-corp-1").hides("job-blue-1", "job-dune-1"),
		get(who, customers).shows("client-acme").hides("client-blue"),
		asAbsent(who, "GET", nil, jobs+"/job-blue-1", customers+"/client-dune", activities+"/act-blue-1"),
		asAbsent(who, "PATCH", Object("title", "x"), jobs+"/job-blue-1"),
		patch(who, jobs+"/job-acme-1", "title", "Mended"),
		create(who, jobs, "client", "client-corp", "title", "New work"),
		create(who, jobs, "client", "client-blue", "title", "x").no(422, fault.BadReference),
		seek(who, jobs, "q", "blue").quiet("blue"),
		// Records without a client are not meant.
		get(who, "/v1/service/checklists").shows("checklist-one"),
		// The rest of the world is as it was.
		get(Manager, jobs).shows("job-blue-1", "job-dune-1"),
		create(Manager, roleClients, "role", role, "client", Blue).forbidden(),
		create(SvcAdmin, roleClients, "role", role, "client", Blue).forbidden(),
		get(who, roleClients).forbidden(),
	)
	office := newTablet(t, w, who)
	office.has("job-acme-1", "job-corp-1", "client-corp", "checklist-one")
	office.lacks("job-blue-1", "client-dune")
	remove(Admin, roleClients+"/"+rows[1]).take(t, w)
	if gone := office.pull(); !slices.Contains(gone, "job-corp-1") || slices.Contains(gone, "job-blue-1") {
		t.Errorf("the device was told to remove %v", gone)
	}
	office.lacks("job-corp-1", "client-corp")
	office.has("job-acme-1")
	remove(Admin, roleClients+"/"+rows[0]).take(t, w)
	takes(t, w, get(who, jobs).hides("job-acme-1", "job-blue-1", "job-corp-1", "job-dune-1"), get(who, customers).hides(everyClient...))
	office.pull()
	office.lacks("job-acme-1", "job-blue-1", "client-acme", "client-blue")
	office.has("checklist-one")
	// A client that is added comes; without the limit all do.
	made(t, w, Admin, roleClients, "role", role, "client", Blue)
	takes(t, w, get(who, jobs).shows("job-blue-1").hides("job-acme-1"))
	office.pull()
	office.has("job-blue-1")
	takes(t, w, patch(Admin, orgRoles+"/"+role, "limitClients", false), get(who, jobs).shows("job-acme-1", "job-dune-1"))
	office.pull()
	office.has("job-acme-1", "job-dune-1")
}

// TestRoleThatEnds: the assignments of an organizational role go with it, and no
// others.
func TestRoleThatEnds(t *testing.T) {
	const who ident.RecordID = "emp-limited"
	w := newWorld(t)
	role := made(t, w, Admin, orgRoles, "name", "Night desk", "baseRoles", []string{"service.manager"})
	w.Person(who)
	w.Person("emp-gone")
	theirs, other, gone := string(w.Give(who, role)), string(w.Give(who, "stock.guest")), string(w.Give("emp-gone", role))
	takes(t, w,
		post(Admin, employees+"/emp-gone/disable"),
		get(who, jobs).shows("job-acme-1"),
		get(Admin, "/v1/admin/role-assignments?limit=200").shows(theirs, other, gone),
		remove(Admin, orgRoles+"/"+role),
		get(who, jobs).forbidden(),
		get(who, "/v1/stock/products").shows("product-valve"),
		get(Admin, "/v1/admin/role-assignments?limit=200").shows(other).hides(theirs, gone),
	)
}

// TestAddressesOfEmployees: one that no mail could be sent to is refused, when it
// is made and when it is changed.
func TestAddressesOfEmployees(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []string{"anna", "@acme.example", "anna@", "a b@acme.example", "anna@acme@example", "Anna <anna@acme.example>"} {
		takes(t, w,
			create(Admin, employees, "name", "Anna", "kind", "in-house", "email", bad).no(422, fault.BadValue),
			patch(Admin, employees+"/emp-engineer", "email", bad).no(422, fault.BadValue),
		)
	}
	takes(t, w,
		create(Admin, employees, "name", "Anna", "kind", "in-house", "email", "anna+x@mail.acme.example"),
		patch(Admin, employees+"/emp-engineer", "phone", "1"),
	)
}

// TestClientsAreListedOnce: a client is hidden, allowed, worked at or meant once,
// so that taking the row away does what it looks like.
func TestClientsAreListedOnce(t *testing.T) {
	w := newWorld(t)
	role, _ := limited(t, w, Acme)
	const onsite = "/v1/admin/onsite-clients"
	takes(t, w,
		create(Admin, rules, "visibility", "visible-contractor", "client", Acme).no(409, fault.Duplicate),
		create(Admin, rules, "visibility", "visible-contractor", "client", Blue),
		create(Admin, rules, "visibility", "visible-blind", "client", Acme),
		create(Admin, onsite, "employee", Onsite, "client", Acme).no(409, fault.Duplicate),
		create(Admin, onsite, "employee", Onsite, "client", Blue),
		create(Admin, roleClients, "role", role, "client", Acme).no(409, fault.Duplicate),
		create(Admin, roleClients, "role", role, "client", Blue),
		// Taken away, it may be listed again.
		remove(Admin, rules+"/rule-contractor"),
		get(Contractor, jobs).shows("job-blue-1").hides("job-acme-1"),
		create(Admin, rules, "visibility", "visible-contractor", "client", Acme),
		get(Contractor, jobs).shows("job-acme-1"),
	)
}

// TestRoleOfClientsAddsUp: what the limit cuts is what the role itself grants;
// another role gives what it gives, and hiding outranks both.
func TestRoleOfClientsAddsUp(t *testing.T) {
	const who ident.RecordID = "emp-limited"
	w := newWorld(t)
	limited(t, w, Acme, Corp)
	w.Give(who, "service.guest", "until", hence(time.Hour))
	takes(t, w,
		get(who, jobs).shows("job-acme-1", "job-blue-1", "job-dune-1"),
		patch(who, jobs+"/job-acme-1", "title", "By the limited role"),
		patch(who, jobs+"/job-blue-1", "title", "x").forbidden(),
		create(who, jobs, "client", "client-blue", "title", "x").forbidden(),
	)
	office := newTablet(t, w, who)
	office.has("job-blue-1")
	w.Advance(time.Hour)
	takes(t, w, get(who, jobs).shows("job-acme-1").hides("job-blue-1"))
	office.pull()
	office.lacks("job-blue-1")
	w.Hide(who, Corp)
	takes(t, w, get(who, jobs).shows("job-acme-1").hides("job-corp-1"), asAbsent(who, "GET", nil, jobs+"/job-corp-1"))
}

// TestRoleOfModules: what an organizational role leaves out of the modules is
// gone, and comes with the module.
func TestRoleOfModules(t *testing.T) {
	const who ident.RecordID = "emp-desk"
	w := newWorld(t)
	role := made(t, w, Admin, orgRoles, "name", "Desk of both", "baseRoles", []string{"service.manager", "level.ticket-manager"})
	w.Person(who, role)
	office := newTablet(t, w, who)
	office.has("job-acme-1", "ticket-acme-1", "supplier-one")
	takes(t, w, patch(Admin, orgRoles+"/"+role, "apps", []string{"helpdesk"}), get(who, tickets).shows("ticket-acme-1"), get(who, jobs).forbidden(),
		post(who, activities+"/act-acme-2/assign", "assignee", Engineer).absent())
	office.pull()
	office.has("ticket-acme-1")
	office.lacks("job-acme-1", "supplier-one")
	takes(t, w, patch(Admin, orgRoles+"/"+role, "apps", []string{"service"}), get(who, tickets).forbidden(), get(who, jobs).shows("job-acme-1"))
	office.pull()
	office.lacks("ticket-acme-1", "supplier-one")
	office.has("job-acme-1")
	takes(t, w,
		create(Admin, orgRoles, "name", "No such module", "baseRoles", []string{"no.role"}).no(422, fault.BadValue),
		create(Admin, orgRoles, "name", "Boss", "baseRoles", []string{"level.customer-administrator"}).no(422, fault.BadValue),
		create(Admin, orgRoles, "name", "Blurred", "baseRoles", []string{"service.manager"}, "cutFields", []string{"job.nothing"}).no(422, fault.BadValue),
	)
}

// TestRoleOfFields: a field that an organizational role cuts is unknown, leaves
// devices, and comes back.
func TestRoleOfFields(t *testing.T) {
	const who ident.RecordID = "emp-blurred"
	w := newWorld(t)
	role := made(t, w, Admin, orgRoles, "name", "Blurred", "baseRoles", []string{"service.guest"})
	w.Person(who, role)
	office := newTablet(t, w, who)
	shown := func(yes bool) {
		t.Helper()
		office.pull()
		if got := strings.Contains(string(office.held["client-acme"]), "access-acme"); got != yes {
			t.Errorf("the device has %s", office.held["client-acme"])
		}
	}
	shown(true)
	takes(t, w, patch(Admin, orgRoles+"/"+role, "cutFields", []string{"client.accessNotes"}),
		get(who, customers+"/client-acme").shows("name").hides("accessNotes"),
		seek(who, customers, "sort", "accessNotes").no(400, fault.UnknownField),
		seek(who, customers, "q", "access-acme").quiet("access-acme"))
	shown(false)
	// Another role that shows it shows it.
	w.Give(who, "service.guest", "until", hence(time.Hour))
	shown(true)
	w.Advance(time.Hour)
	shown(false)
	takes(t, w, patch(Admin, orgRoles+"/"+role, "cutFields", nil))
	shown(true)
}

// TestRightsOfATime: roles, grants and denials begin and end at their instant,
// without a write, online and on devices.
func TestRightsOfATime(t *testing.T) {
	const who = Nobody
	w := newWorld(t)
	office := newTablet(t, w, who)
	span := func(kv ...any) []any { return append(kv, "from", hence(time.Hour), "until", hence(2*time.Hour)) }
	takes(t, w,
		create(Admin, assigned, span("employee", who, "role", "service.guest")...),
		create(Admin, permits, span("employee", who, "effect", "grant", "verb", "view", "entityType", "ticket")...),
		create(Admin, permits, "employee", who, "effect", "denial", "verb", "view", "entityType", "invoice", "until", hence(90*time.Minute)),
		create(Admin, assigned, "employee", who, "role", "service.guest", "from", hence(2*time.Hour), "until", hence(time.Hour)).no(422, fault.BadValue),
	)
	none := func() {
		t.Helper()
		takes(t, w, get(who, jobs).forbidden(), get(who, tickets).forbidden(), get(who, jobs+"/job-acme-1").absent())
		office.pull()
		office.lacks("job-acme-1", "ticket-acme-1", "invoice-acme")
	}
	var before int64
	count := func() (n int64) {
		if err := w.World.Tenant.Read(func(v *tenant.View) error { n = int64(v.PolicyVersion()); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	none()
	before = count()
	w.Advance(time.Hour - time.Millisecond)
	none()
	w.Advance(time.Millisecond)
	takes(t, w, get(who, jobs).shows("job-acme-1"), get(who, tickets).shows("ticket-acme-1"), get(who, invoices).forbidden())
	office.pull()
	office.has("job-acme-1", "ticket-acme-1")
	office.lacks("invoice-acme")
	w.Advance(30 * time.Minute)
	takes(t, w, get(who, invoices).shows("invoice-acme"))
	office.pull()
	office.has("invoice-acme")
	w.Advance(30 * time.Minute)
	none()
	if count() == before {
		t.Error("what is remembered of rights is as it was")
	}
	takes(t, w, get(Guest, jobs).shows("job-acme-1"))
}

// TestLastAdministratorRaced: twenty at once, each to be rid of one of two
// administrators by another way, leave one who can run the tenant.
func TestLastAdministratorRaced(t *testing.T) {
	const second ident.RecordID = "emp-second"
	for round := range 3 {
		w := newWorld(t)
		w.Person(second, "level.customer-administrator")
		w.Person("emp-third")
		role := map[ident.RecordID]string{}
		for _, who := range []ident.RecordID{Admin, second} {
			role[who] = w.HTTP(Admin, "GET", assigned+"?filter=employee%20eq%20"+string(who), nil).IDs(t)[0]
			w.Token(who)
		}
		ways := []func(by, whom ident.RecordID) (method, path string, body any){
			func(_, whom ident.RecordID) (string, string, any) {
				return "POST", employees + "/" + string(whom) + "/disable", nil
			},
			func(_, whom ident.RecordID) (string, string, any) { return "DELETE", assigned + "/" + role[whom], nil },
			func(_, whom ident.RecordID) (string, string, any) {
				return "PATCH", assigned + "/" + role[whom], Object("until", hence(time.Hour))
			},
			func(_, whom ident.RecordID) (string, string, any) {
				return "POST", visible, Object("employee", whom, "mode", "only")
			},
			func(_, whom ident.RecordID) (string, string, any) {
				return "POST", permits, Object("employee", whom, "effect", "denial", "entityType", "roleAssignment")
			},
		}
		type answer struct {
			status int
			code   string
		}
		answers := make([]answer, 20)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				by, whom := Admin, second
				if i%2 == 1 {
					by, whom = second, Admin
				}
				if (i/2)%3 == round { // of oneself
					whom = by
				}
				method, path, body := ways[(i/2)%len(ways)](by, whom)
				res := w.HTTP(by, method, path, body)
				answers[i] = answer{res.Status, res.Code()}
			}()
		}
		wg.Wait()
		done := 0
		for i, a := range answers {
			switch {
			case a.status < 300:
				done++
			case a.code == string(fault.LastAdministrator), a.code == string(fault.NotAllowed), a.code == string(fault.SessionRevoked),
				a.code == string(fault.NotFoundCode), a.code == string(fault.WrongStatus), a.code == string(fault.Duplicate):
			default:
				t.Errorf("request %d: %d %s", i, a.status, a.code)
			}
		}
		if done == 0 {
			t.Error("no request did anything")
		}
		// Somebody is left, who can make another.
		left := 0
		for _, who := range []ident.RecordID{Admin, second} {
			if res := w.HTTP(who, "POST", assigned, Object("employee", "emp-third", "role", "level.basic")); res.Status == http.StatusCreated {
				left++
			}
		}
		if left != 1 {
			t.Errorf("round %d: %d administrators are left, after %d of twenty: %v", round, left, done, answers)
		}
	}
}

// TestNobodyElseAdministers: each write of what decides rights, by everybody
// who is no customer administrator.
func TestNobodyElseAdministers(t *testing.T) {
	w := newWorld(t)
	people := People()
	if testing.Short() {
		people = []ident.RecordID{SvcAdmin, Ticketer, Onsite, Staff, CRMAdmin, AgentsAdmin}
	}
	for _, who := range people {
		if who == Admin {
			continue
		}
		for path, fields := range map[string]command.Object{
			employees:   Object("name", "x", "email", "x@example.com", "kind", "in-house"),
			assigned:    Object("employee", who, "role", "level.customer-administrator"),
			permits:     Object("employee", who, "effect", "grant", "verb", "view", "app", "crm"),
			visible:     Object("employee", who, "mode", "all-but"),
			rules:       Object("visibility", "visible-blind", "client", Acme),
			orgRoles:    Object("name", "x", "baseRoles", []string{"service.guest"}),
			roleClients: Object("role", "orgrole-1", "client", Acme),
		} {
			if res := w.HTTP(who, "POST", path, fields); res.Status != 403 {
				t.Errorf("%s: POST %s: %d %s", who, path, res.Status, res.Body)
			}
		}
	}
}
