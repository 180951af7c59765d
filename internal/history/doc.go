// Package history records what many clients saw of one running server, and
// checks that there is an order in which it makes sense: histories of single
// records, of levels and payments, and of who administers the tenant are
// linearizable (Herlihy and Wing) by models of their own, which share no code
// with the server.
//
// Clients speak HTTP through a proxy that cuts connections: before a request
// arrives, in its middle, and before its answer does; and the server is ended
// and started again under them. An operation whose answer was lost may have
// been done or not, at any time after it began, and the models say so. Reads
// are those of the module API and those of devices: what a device holds once a
// pull is complete was so at some moment of that pull, which is how a device
// reads its own writes and never goes back.
//
// It consists of tests alone.
package history
