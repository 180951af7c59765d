// Package client is a Satchel device as a library: a local store that holds
// what its user may see, takes edits without a network, and agrees with the
// server whenever there is one. The command line's phone, the end-to-end tests
// and other people's programs build on it. It knows nothing of the server but
// the protocol in sync/wire, and anything may import it.
//
// # Building a client
//
// Open a phone on a file (or OpenMemory for simulations), sign in once, and
// from then on work with the local store:
//
//	p, err := client.Open("satchel.db", client.Options{Server: "https://…", Tenant: "acme"})
//	err = p.Login(ctx, "ana@acme.example", password)
//	report, err := p.Sync(ctx)
//
// Get and List never wait for the network. What they return is what the server
// sent last with the edits made here laid over it; Record.Pending marks what is
// not confirmed yet. An edit stays laid over until the server's own values
// show it, so nothing flickers back to an old value in between.
//
// Create, Patch, Delete and Action change the local view at once and queue the
// change. Sync sends the queue, in order, and fetches what is new; Live does
// both continuously over a socket and falls back to Sync where it can't have
// one. A change is sent until the server has answered it, with the same number
// and the same content, so it takes effect once however often an answer gets
// lost.
//
// # Rules
//
// With the records come the rules: what fields a type has, what they take, and
// what the person may do with which records. An edit that breaks them is a
// *RuleError at once, with the server's own code, while the person is still where
// the work is; nothing of it is queued unless EditAnyway says so. What the device
// can't know is left to the server, which decides in any case. A new device fetches
// them beside its second page: the first of a field device is the person's day.
//
// # What the server may answer
//
// Each change is applied, refused, or in conflict. What was refused no longer
// shows; of a conflict the fields that nobody else changed are applied and the
// other side's values stand. Both wait in Problems, with what the person
// entered, until Dismiss. A change that depends on a refused one is refused
// too, with the code depends_on; changes that need a record made here name it
// by themselves.
//
// A record that the person may no longer see disappears with the page that
// says so, even if edits to it are unsent. These are still sent, without being
// shown, and erased when answered; problems about it keep no content.
//
// # The lease
//
// With completed pages the server tells for how long the device may show what it
// holds without another contact. After that everything that shows or edits
// records is ErrLocked, until a Sync or Live has completed; what waits to be sent
// is sent then. A clock that is set back gives nothing back. The lock is the
// program's: it keeps honest people from relying on old data, and whoever finds a
// phone from reading it. Against somebody who takes the file apart the phone's
// own encryption has to help.
//
// # Errors to act on
//
// ErrSignedOut asks for Login; nothing is lost by it. ErrWiped says that
// everything was removed on the server's order; Options.OnWipe saw the unsent
// work before. Other refusals are *Error with the server's stable code. An
// error without either is the network's: try again later. Everything that an
// interruption can leave behind, at any point, is put right by the next Sync.
//
// # Copies of the store
//
// A store that was cloned or restored from a backup must not go on numbering
// its changes where the original does too. Open notices by a label beside the
// file, and the server by numbers that come twice with another content; either
// way a new incarnation begins: a new device in the server's eyes, which has to
// sign in. Unsent changes move along under new numbers, and records made here
// and not sent get ids with the new device's prefix, also wherever unsent
// changes refer to them. A change that had left and whose answer had not
// arrived when the copy was made is sent again as the new device's, so such a
// one may arrive twice.
//
// # What lies on disk
//
// The store is one bbolt file, readable by its owner only, with the session's
// tokens in it; it is not encrypted. Pages of the file that held removed
// records are reused in time, not overwritten. A wipe and Erase remove the file
// itself.
package client
