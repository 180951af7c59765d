// Package testworld is one small tenant with people of every role, for tests
// that go through an edge's public interface. It exists so that such tests
// speak of the same people and records and don't each build their own. Only
// tests import it; it imports no edge but package edge, and takes the edge
// under test as a function.
//
// # The tenant
//
// Two sales areas, AreaNorth and AreaSouth. Four clients: Acme and Blue in the
// north, Corp and Dune in the south. Every client c of "acme", "blue", "corp"
// and "dune" has, with these ids:
//
//	client-c      site-c        contact-c      asset-c        invoice-c (Draft)
//	job-c-1       ticket-c-1    update-c-1 (public)    update-c-2 (internal)
//	act-c-1       the Engineer's activity of job-c-1, Accepted
//	act-c-2       nobody's, New
//	time-c-1  part-c-1  sign-c-1  answer-c-1   of act-c-1
//	comment-c-1 (on the client)  comment-c-2 (on act-c-1)  comment-c-3 (on the job)
//	document-c-1 (of the job)    document-c-2 (of the ticket)
//
// Of Dune, act-dune-1 is the Colleague's instead. ticket-c-1 was requested by
// Basic, ticket-acme-2 and ticket-blue-2 by nobody here; ticket-acme-3 was
// requested by Staff and is assigned to the Engineer. The GuestAgent has
// act-blue-3, the Contractor act-acme-3.
//
// Without a client: product-seal, product-pump, warehouse-main, van-engineer
// (the Engineer's) with level-van-seal, level-main-seal, supplier-one,
// carrier-one, order-one-1 (Draft), checklist-one, agent-engineer,
// skill-gas-1, geo-west-1, orgrole-1, and of each person p of Roles a
// preference pref-p and a notification note-p about job-acme-1.
//
// # The people
//
// See Roles: every key of the map is an employee. Staff and Liaison belong to
// Acme. Onsite and Liaison are onsite at Acme. Contractor is a subcontractor
// who may see Acme alone. Rep works in the north. Blind is an in-house manager
// from whom Blue is hidden. Leaver is disabled and has no sign-in.
//
// # Using it
//
//	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
//		if _, err := rest.Mount(app, auth, cat, rest.Options{}); err != nil {
//			t.Fatal(err)
//		}
//	})
//	w.HTTP(testworld.Engineer, "GET", "/v1/service/jobs", nil).Want(t, 200, "")
//	w.HTTP(testworld.Guest, "PATCH", "/v1/service/jobs/job-acme-1",
//		testworld.Object("title", "x")).Want(t, 403, "not_allowed")
//
// Do, Import, Person, Give, Permit, Hide and Allow change the tenant as the
// system; Token, DeviceToken, Device and Prefix give sign-ins.
//
// Every world is a tenant of its own that starts from the same state, in
// memory, with a clock that stands until Advance moves it and randomness that
// repeats. New costs a few milliseconds, so a test may make one for each case.
package testworld
