// Package badinput holds a generated corpus of requests that no client should
// send, and the test that sends them all: each is refused with a documented
// code, none is answered as a fault of the server's, and none leaves a trace
// but in the log and the audit trail. The corpus walks the table of routes and
// the catalogue of types, so that what is added to either is covered from the
// day it is there. It has no clock and no randomness: the same tree makes the
// same corpus.
//
// It consists of tests alone.
package badinput
