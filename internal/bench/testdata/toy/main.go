// Command toy is an adapter of `satchel bench --peer` in the shortest form: the
// server it stands for is a map in its own memory. ../../DESIGN.md has the
// messages. It needs nothing but the standard library, so that it can be
// copied; an adapter of a real server works on several requests at a time.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
)

type request struct {
	ID     int64
	Do, As string
	Rows   []json.RawMessage
	Person string
	Device bool
	Accept string
	Record string
	Notes  string
	Areas  []string
}

type person struct {
	ID, Role string
	Areas    []string
}

type record struct {
	ID, Area string
	fields   map[string]any
}

// session is somebody who is signed in.
type session struct {
	as     string
	person *person
	device bool
	live   bool
}

type answer map[string]any

// errUnsupported is answered as such.
type errUnsupported string

func (e errUnsupported) Error() string { return string(e) }

type toy struct {
	cannot   []string
	pid      bool
	out      *bufio.Writer
	areas    map[string]bool
	people   map[string]*person
	records  map[string]*record
	sessions map[string]*session
	loaded   bool
}

func main() {
	log.SetFlags(0)
	cannot := flag.String("cannot", "", "works it can't do, with commas between")
	pid := flag.Bool("pid", false, "let the memory of the process be looked at")
	flag.Parse()
	t := &toy{
		pid: *pid, out: bufio.NewWriter(os.Stdout), areas: map[string]bool{}, people: map[string]*person{}, records: map[string]*record{},
		sessions: map[string]*session{},
	}
	if *cannot != "" {
		t.cannot = strings.Split(*cannot, ",")
	}
	if err := t.serve(); err != nil {
		log.Fatal(err)
	}
}

// serve answers one request after the other until it is told to end.
func (t *toy) serve() error {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // as after the request to end
		}
		if err != nil {
			return err
		}
		q := request{}
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		a, err := t.do(&q)
		var cannot errUnsupported
		switch {
		case errors.As(err, &cannot):
			a = answer{"unsupported": cannot}
		case err != nil:
			a = answer{"error": err.Error()}
		case a == nil:
			a = answer{}
		}
		a["id"] = q.ID
		if err := t.say(a); err != nil {
			return err
		}
		if err := t.out.Flush(); err != nil || q.Do == "end" {
			return err
		}
	}
}

func (t *toy) say(a answer) error { return json.NewEncoder(t.out).Encode(a) }

// news tells a client, if it is live.
func (t *toy) news(s *session, changed, removed int, mark string) error {
	if !s.live || changed+removed == 0 {
		return nil
	}
	return t.say(answer{"as": s.as, "changed": changed, "removed": removed, "mark": mark})
}

func (p *person) sees(r *record) bool { return p.Role == "manager" || slices.Contains(p.Areas, r.Area) }

func (t *toy) do(q *request) (answer, error) {
	switch q.Do {
	case "hello":
		why := map[string]string{}
		for _, w := range t.cannot {
			why[w] = "the toy was told so"
		}
		return answer{"version": 1, "name": "toy", "cannot": why}, nil
	case "ping", "end":
		return nil, nil
	case "loadAreas", "loadPeople", "loadRecords":
		return nil, t.load(q)
	case "loaded":
		t.loaded = true
		return nil, nil
	case "signIn":
		return nil, t.signIn(q)
	case "memory":
		return t.memory(), nil
	case "restart":
		for _, s := range t.sessions {
			s.live = false
		}
		return nil, nil
	}
	s := t.sessions[q.As]
	if s == nil {
		return nil, fmt.Errorf("%s is not signed in", q.As)
	}
	return t.doAs(s, q)
}

func (t *toy) load(q *request) error {
	if t.loaded {
		return errors.New("everything was loaded")
	}
	for _, raw := range q.Rows {
		var areas []string
		switch q.Do {
		case "loadAreas":
			var a struct{ ID string }
			if err := json.Unmarshal(raw, &a); err != nil {
				return err
			}
			t.areas[a.ID] = true
		case "loadPeople":
			var p person
			if err := json.Unmarshal(raw, &p); err != nil {
				return err
			}
			t.people[p.ID], areas = &p, p.Areas
		default:
			var r record
			if err := errors.Join(json.Unmarshal(raw, &r), json.Unmarshal(raw, &r.fields)); err != nil {
				return err
			}
			t.records[r.ID], areas = &r, []string{r.Area}
		}
		for _, a := range areas {
			if !t.areas[a] {
				return fmt.Errorf("there is no area %s", a)
			}
		}
	}
	return nil
}

func (t *toy) signIn(q *request) error {
	p := t.people[q.Person]
	switch {
	case p == nil || !t.loaded:
		return fmt.Errorf("there is no person %q", q.Person)
	case t.sessions[q.As] != nil:
		return fmt.Errorf("%s is signed in", q.As)
	}
	t.sessions[q.As] = &session{as: q.As, person: p, device: q.Device}
	return nil
}

// memory pretends that a live client takes a kilobyte.
func (t *toy) memory() answer {
	if t.pid {
		return answer{"processes": []int{os.Getpid()}}
	}
	n := 1 << 20
	for _, s := range t.sessions {
		if s.live {
			n += 1 << 10
		}
	}
	return answer{"bytes": n}
}

func (t *toy) doAs(s *session, q *request) (answer, error) {
	manages := s.person.Role == "manager" && !s.device
	r := t.records[q.Record]
	switch {
	case q.Do == "close":
		delete(t.sessions, s.as)
		return nil, nil
	case q.Do == "sync" && s.device && !s.live:
		return t.sync(s, q.Accept)
	case q.Do == "live" && s.device && !s.live:
		s.live = true
		return nil, nil
	case q.Do == "write" && manages && r != nil:
		r.fields["notes"] = q.Notes
		return nil, t.tell(r, 1, 0)
	case q.Do == "delete" && manages && r != nil:
		delete(t.records, r.ID)
		return nil, t.tell(r, 0, 1)
	case q.Do == "assign" && s.person.Role == "admin" && t.people[q.Person] != nil:
		return nil, t.assign(t.people[q.Person], q.Areas)
	}
	return nil, fmt.Errorf("%s can't %s %s", s.as, q.Do, q.Record)
}

// tell tells everybody who sees a record.
func (t *toy) tell(r *record, changed, removed int) error {
	for _, s := range t.sessions {
		if s.person.sees(r) {
			if err := t.news(s, changed, removed, fmt.Sprint(r.fields["notes"])); err != nil {
				return err
			}
		}
	}
	return nil
}

// sync sends nothing, but counts and packs what it would send.
func (t *toy) sync(s *session, accept string) (answer, error) {
	var page bytes.Buffer
	n := 0
	for _, r := range t.records {
		if !s.person.sees(r) {
			continue
		}
		b, err := json.Marshal(r.fields)
		if err != nil {
			return nil, err
		}
		page.Write(b)
		n++
	}
	switch accept {
	case "":
	case "gzip":
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(page.Bytes()); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		page = packed
	default:
		return nil, errUnsupported("the toy has no " + accept)
	}
	return answer{"records": n, "bytes": page.Len()}, nil
}

// assign changes what a person sees, and tells their live clients unless it
// can't.
func (t *toy) assign(p *person, areas []string) error {
	before := *p
	p.Areas = areas
	came, went := 0, 0
	for _, r := range t.records {
		switch had, has := before.sees(r), p.sees(r); {
		case has && !had && !slices.Contains(t.cannot, "R1000"):
			came++
		case had && !has && !slices.Contains(t.cannot, "D1000"):
			went++
		}
	}
	for _, s := range t.sessions {
		if s.person == p {
			if err := t.news(s, came, went, ""); err != nil {
				return err
			}
		}
	}
	return nil
}
