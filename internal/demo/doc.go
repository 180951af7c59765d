// Package demo is the demo tenant: a small service company that keeps the
// workshops of bicycle shops running. Its shops, products, suppliers and orders
// are a part of the AdventureWorks sample (data, with its MIT licence beside
// it; the folder gen holds the program that cut it out), brought in by the
// same mapping as the full set. People, work and tickets around them are made
// up here, from a fixed seed and arranged around the time of loading, so that
// today's work is always there. internal/app loads it for --demo; tests and
// benchmarks use it as a world to start from.
package demo
