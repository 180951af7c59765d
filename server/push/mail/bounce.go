package mail

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"regexp"
	"strings"
)

// Bounce is one receiver's part of a delivery status notification (RFC 3464).
type Bounce struct {
	// Address is the one we wrote to, where the report says so, otherwise the
	// one it ended up at.
	Address string
	// Action is "failed", "delayed", "delivered", "relayed" or "expanded".
	Action string
	// Status is the enhanced status code (RFC 3463), such as "5.1.1".
	Status string
	// Permanent: nothing sent to this address will arrive, now or later.
	Permanent bool
	// Soft: the mail was given up, because of the mailbox or of its server and
	// not of the mail; another one may arrive.
	Soft bool
	// MessageID is that of the mail which bounced, without angle brackets;
	// empty if the report doesn't quote it. Anybody can make up a report: what
	// counts is where it came, which Inbound sees to.
	MessageID string
}

// ErrNoBounce says that a mail is no report of a delivery that failed.
var ErrNoBounce = errors.New("mail: no delivery status notification of a failure")

// Bounds on what is read of a report; whoever sends it isn't trusted.
const (
	maxReport     = 4 << 20
	maxParts      = 16
	maxStatusPart = 64 << 10
	maxReceivers  = 100
)

// Bounces returns what a report says of each of its receivers. Its error is
// ErrNoBounce for a mail that is no report or names no receiver.
func Bounces(raw []byte) ([]Bounce, error) {
	if len(raw) > maxReport {
		return nil, fmt.Errorf("mail: a report of %d bytes: %w", len(raw), ErrNoBounce)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, ErrNoBounce
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || !strings.EqualFold(params["report-type"], "delivery-status") || params["boundary"] == "" {
		return nil, ErrNoBounce
	}
	var out []Bounce
	id := ""
	parts := multipart.NewReader(m.Body, params["boundary"])
	for range maxParts {
		// The raw part: its transfer encoding is undone below, for every kind.
		p, err := parts.NextRawPart()
		if err != nil {
			// io.EOF, or a report cut short: what was read counts.
			break
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		switch kind {
		case "message/delivery-status", "message/global-delivery-status":
			out = append(out, receivers(decoded(p))...)
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
			if id == "" {
				id = quotedID(decoded(p))
			}
		}
	}
	if len(out) == 0 {
		return nil, ErrNoBounce
	}
	out = out[:min(len(out), maxReceivers)]
	for i := range out {
		out[i].MessageID = id
	}
	return out, nil
}

// decoded undoes a part's transfer encoding.
func decoded(p *multipart.Part) io.Reader {
	var r io.Reader = p
	switch strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, p)
	case "quoted-printable":
		r = quotedprintable.NewReader(p)
	}
	return io.LimitReader(r, maxStatusPart)
}

// receivers reads the groups of a delivery-status part: one of the message,
// then one of each receiver, separated by empty lines.
func receivers(r io.Reader) []Bounce {
	var out []Bounce
	group := map[string]string{}
	last := ""
	end := func() {
		if b, ok := bounce(group); ok {
			out = append(out, b)
		}
		clear(group)
		last = ""
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxStatusPart)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), "\r \t")
		switch {
		case text == "":
			end()
		case text[0] == ' ' || text[0] == '\t':
			if last != "" {
				group[last] += " " + strings.TrimSpace(text)
			}
		default:
			name, value, ok := strings.Cut(text, ":")
			if last = strings.ToLower(strings.TrimSpace(name)); !ok {
				last = ""
				continue
			}
			if _, twice := group[last]; !twice {
				group[last] = strings.TrimSpace(value)
			}
		}
	}
	end()
	return out
}

var statusForm = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// bounce makes sense of one receiver's group; ok is false for the message's own.
func bounce(group map[string]string) (Bounce, bool) {
	address := reported(group["original-recipient"])
	if address == "" {
		address = reported(group["final-recipient"])
	}
	b := Bounce{Address: address, Action: strings.ToLower(word(group["action"])), Status: statusForm.FindString(group["status"])}
	switch b.Action {
	case "failed", "delayed", "delivered", "relayed", "expanded":
	default:
		return b, false
	}
	b.Permanent = b.Action == "failed" && strings.HasPrefix(b.Status, "5.") && ofAddress(b.Status)
	b.Soft = b.Action == "failed" && !b.Permanent && (b.Status == "" || ofAddress(b.Status) || ofMailbox(b.Status))
	return b, b.Address != ""
}

// word is the first word of a field; comments may follow it.
func word(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return f[0]
}

// reported reads "rfc822; ann@example.com", "" if it is no address of ours.
func reported(v string) string {
	kind, address, ok := strings.Cut(v, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if !ok || (kind != "rfc822" && kind != "utf-8") {
		return ""
	}
	a, err := parseAddress(strings.Trim(strings.TrimSpace(address), "<>"))
	if err != nil || a.Name != "" {
		return ""
	}
	return a.Address
}

// quotedID returns the Message-ID among the headers of the mail that bounced.
func quotedID(r io.Reader) string {
	// ReadMessage wants the empty line that text/rfc822-headers may lack.
	m, err := netmail.ReadMessage(io.MultiReader(r, strings.NewReader("\r\n\r\n")))
	if err != nil {
		return ""
	}
	id := strings.Trim(strings.TrimSpace(m.Header.Get("Message-Id")), "<>")
	if len(id) > maxAddress || !plainLine(id) {
		return ""
	}
	return id
}

// ofAddress tells whether a failure of class 5 speaks of the address itself
// rather than of this mail, of the sender or of a mailbox that is full. Servers
// that give no detail (5.0.0, or no code) mean the address.
func ofAddress(status string) bool {
	_, detail, _ := strings.Cut(status, ".")
	switch detail {
	case "", "0.0", // no detail
		"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", // no such mailbox or domain, moved, null MX
		"2.0", "2.1", // mailbox disabled
		"4.4": // no route to the domain
		return true
	default:
		return false
	}
}

// ofMailbox tells whether a failure speaks of a mailbox, or of its server, that
// takes nothing for now.
func ofMailbox(status string) bool {
	_, detail, _ := strings.Cut(status, ".")
	switch detail {
	case "2.2", "2.4", // mailbox full, list in trouble
		"3.0", "3.1", "3.2", // system full, or not accepting
		"4.0", "4.1", "4.2", "4.3", "4.5", "4.6", "4.7": // unreachable, congested, expired
		return true
	default:
		return false
	}
}
