// Package canary looks at everything that leaves a server from outside, over
// the real wiring and a real port, for what must not leave.
//
// # Canaries
//
// A [World] is a tenant in which every field of every record bears a token that
// stands nowhere else, and people of every kind. [Crawl] lets each of them ask
// for everything there is to be asked, and a [Scanner] looks through whatever
// comes out of the server: answers, pages, frames, files, mails, pushes, logs,
// metrics. It takes apart what it finds (JSON, base64, hex, compression,
// archives, mail encodings), and a token that reaches a person whom the judge
// (package oracle) does not let see any field with it is a leak. Each channel has
// to bring tokens that may be there, and each decoder one that was planted: a
// scanner that has gone deaf fails.
//
// # Twins
//
// [Twins] runs two servers of one seed beside each other. Whatever is done in
// the one and not in the other is something that, by the judge, its watched
// person can't see a trace of. The person then asks both the same questions,
// and the answers must be the same to the byte: status, headers, bodies,
// order, cursors, pages, frames, mails and pushes. Package simtest asks the
// same of the core alone. How long answers take is not compared.
//
// What may be told all the same is written down beside the code that lets it
// pass, with the reason ([Pardon], [Masks]).
//
// Only tests import this package. TestTwinsLong is the long form, by
// CANARY_TWINS=seeds and CANARY_FROM=first.
package canary
