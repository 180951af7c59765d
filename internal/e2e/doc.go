// Package e2e holds the end-to-end tests: whole servers as internal/app wires
// them, over real HTTP and WebSockets on loopback, with several devices
// through the client package. What is tested here is what the parts promise
// together; each part's own rules are tested beside it. Nothing imports it.
package e2e
