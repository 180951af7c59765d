package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// input is an operation as its client meant it.
type input struct {
	key  string // what it is about: a task, a level, a payment, "admins"
	kind string
	id   string // of the record made or deleted, where key is not that
	who  string // who does it, where that decides
	text string // the title written
	was  string // push: the title it was changed from
	rev  string // If-Match, "" for none
	n    int
}

// output is what came back.
type output struct {
	code string // of the refusal, "" for done
	// unknown: no answer came. The operation may take effect at any time after
	// its call, or never.
	unknown bool
	// again: it was sent more than once, and the answer, which is that of now,
	// may show more than the operation itself did.
	again bool

	title string
	done  bool
	rev   string
	n     int
}

// task is the state of one task.
type task struct {
	phase string // "" before it is made, "live", "gone"
	title string
	done  bool
	rev   string // "" where nobody was told
}

// taskStep is the model of one task: a register with a rev, a status of two
// values and a tombstone.
func taskStep(state, in, out any) (bool, any) {
	s, i, o := state.(task), in.(input), out.(output)
	live := s.phase == "live"
	mismatch := i.rev != "" && s.rev != i.rev // certain only where s.rev is known
	next := s
	// wrote is the state after a change that was seen or not.
	wrote := func() (bool, any) {
		next.rev = ""
		if o.unknown || o.again {
			return true, next
		}
		if o.rev == "" || o.rev == s.rev || o.title != next.title || o.done != next.done {
			return false, s // a change changes the rev, and shows what it did
		}
		next.rev = o.rev
		return true, next
	}
	switch i.kind {
	case "create":
		next = task{phase: "live", title: i.text}
		switch {
		case o.unknown:
			if s.phase != "" {
				return true, s
			}
			return wrote()
		case o.code == "":
			if s.phase != "" {
				return false, s
			}
			return wrote()
		}
		return o.code == "bad_id" && s.phase != "", s
	case "read":
		if o.code == "not_found" {
			return !live, s
		}
		if !live || o.title != s.title || o.done != s.done || s.rev != "" && s.rev != o.rev {
			return false, s
		}
		next.rev = o.rev
		return true, next
	case "patch", "complete", "reopen":
		possible := true
		switch i.kind {
		case "patch":
			next.title = i.text
		case "complete":
			possible, next.done = !s.done, true
		case "reopen":
			possible, next.done = s.done, false
		}
		switch {
		case o.unknown:
			if !live || !possible || mismatch && s.rev != "" {
				return true, s
			}
			return wrote()
		case o.code == "":
			if !live || !possible || mismatch && s.rev != "" {
				return false, s
			}
			return wrote()
		case o.code == "not_found":
			return !live, s
		case o.code == "wrong_status":
			return live && !possible, s
		case o.code == "rev_mismatch":
			return live && possible && i.rev != "" && mismatch, s
		}
		return false, s
	case "push":
		next.title = i.text
		switch o.code {
		case "":
			if !live || s.title != i.was {
				return false, s
			}
			next.rev = ""
			if !o.again {
				if o.rev == "" || o.rev == s.rev {
					return false, s
				}
				next.rev = o.rev
			}
			return true, next
		case "conflict":
			return live && s.title != i.was, s
		case "not_found":
			return !live, s
		}
		return false, s
	case "delete":
		next = task{phase: "gone"}
		switch {
		case o.unknown:
			if !live || mismatch && s.rev != "" {
				return true, s
			}
			return true, next
		case o.code == "":
			return live && (!mismatch || s.rev == ""), next
		case o.code == "not_found":
			return !live, s
		case o.code == "rev_mismatch":
			return live && mismatch, s
		}
	}
	return false, s
}

// levelStep is the model of a level in a warehouse: a counter that never goes
// below nothing.
func levelStep(state, in, out any) (bool, any) {
	s, i, o := state.(int), in.(input), out.(output)
	if i.kind == "read" {
		return o.n == s, s
	}
	possible := s+i.n >= 0
	switch {
	case o.unknown && !possible:
		return true, s
	case o.unknown, o.code == "":
		return possible, s + i.n
	}
	return o.code == "insufficient_stock" && !possible, s
}

// payment is the state of a payment: what is allocated of it, by the ids of the
// allocations, rendered so that states compare.
type payment struct {
	open int
	live string // "id=sum;" of each, sorted
	dead string // "id;" of those taken back
}

func paymentStep(state, in, out any) (bool, any) {
	s, i, o := state.(payment), in.(input), out.(output)
	there := strings.Contains(s.live, i.id+"=")
	used := there || strings.Contains(s.dead, i.id+";")
	next := s
	switch i.kind {
	case "read":
		return o.n == s.open, s
	case "allocate":
		parts := strings.SplitAfter(s.live, ";")
		parts = append(parts, fmt.Sprintf("%s=%d;", i.id, i.n))
		slices.Sort(parts)
		next.live, next.open = strings.Join(parts, ""), s.open-i.n
		switch {
		case o.unknown && (used || i.n > s.open):
			return true, s
		case o.unknown, o.code == "":
			return !used && i.n <= s.open, next
		case o.code == "bad_id":
			return used, s
		}
		return o.code == "bad_value" && i.n > s.open, s
	case "release":
		next.live = strings.Replace(s.live, fmt.Sprintf("%s=%d;", i.id, i.n), "", 1)
		next.dead, next.open = s.dead+i.id+";", s.open+i.n
		switch {
		case o.unknown && !there:
			return true, s
		case o.unknown, o.code == "":
			return there, next
		}
		return o.code == "not_found" && !there, s
	}
	return false, s
}

// adminsStep is the model of who administers the tenant: the assignments that
// are there, "id=person;" of each, sorted. Somebody always does, and nobody
// twice.
func adminsStep(state, in, out any) (bool, any) {
	s, i, o := state.(string), in.(input), out.(output)
	may := strings.Contains(s, "="+i.who+";")
	there := strings.Contains(s, i.id+"=")
	switch i.kind {
	case "grant":
		holds := strings.Contains(s, "="+i.text+";")
		parts := strings.SplitAfter(s, ";")
		parts = append(parts, i.id+"="+i.text+";")
		slices.Sort(parts)
		next := strings.Join(parts, "")
		switch {
		case o.unknown && (!may || there || holds):
			return true, s
		case o.unknown, o.code == "":
			return may && !there && !holds, next
		case o.code == "duplicate":
			return may && holds, s
		case o.code == "not_allowed":
			return !may, s
		}
	case "revoke":
		var next strings.Builder
		for part := range strings.SplitAfterSeq(s, ";") {
			if !strings.HasPrefix(part, i.id+"=") {
				next.WriteString(part)
			}
		}
		left := next.String()
		switch {
		case o.unknown && (!may || !there || left == ""):
			return true, s
		case o.unknown, o.code == "":
			return may && there && left != "", left
		case o.code == "not_allowed":
			return !may, s
		case o.code == "not_found":
			return !may || !there, s
		case o.code == "last_administrator":
			return may && there && left == "", s
		}
	case "read": // how many assignments there are
		if o.code != "" {
			return o.code == "not_allowed" && !may, s
		}
		return may && o.n == strings.Count(s, ";"), s
	}
	return false, s
}

// model makes a model of a step; start is the state of a key before anything
// happened.
func model(start func(key string) any, step func(state, in, out any) (bool, any)) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, op := range history {
				k := op.Input.(input).key
				by[k] = append(by[k], op)
			}
			var out [][]porcupine.Operation
			for _, k := range slices.Sorted(maps.Keys(by)) {
				out = append(out, by[k])
			}
			return out
		},
		// Keys start alike but for what the first operation's key says, so the
		// state is nil until then.
		Init: func() any { return nil },
		Step: func(state, in, out any) (bool, any) {
			if state == nil {
				state = start(in.(input).key)
			}
			return step(state, in, out)
		},
		DescribeOperation: func(in, out any) string {
			i, o := in.(input), out.(output)
			return fmt.Sprintf("%s %s %s%s n=%d if=%.6s was=%s -> %s %s done=%v rev=%.6s n=%d unknown=%v again=%v",
				i.kind, i.id, i.who, i.text, i.n, i.rev, i.was, o.code, o.title, o.done, o.rev, o.n, o.unknown, o.again)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// TestModels holds the models against histories made by hand: what may have
// been is taken, what can't have been is not.
func TestModels(t *testing.T) {
	const first = "admin-a"
	all := models()
	all["admins"] = model(func(string) any { return "one=" + first + ";" }, adminsStep)
	type step struct {
		in  input
		out output
		// from and to are when it was under way.
		from, to int64
	}
	task := func(kind, text string, o output, from, to int64) step {
		return step{input{key: "t", kind: kind, text: text}, o, from, to}
	}
	lost := output{unknown: true}
	const never = 1_000
	for _, c := range []struct {
		name, class string
		steps       []step
		may         bool
	}{
		{"a lost create that was done", "tasks", []step{
			task("create", "a", lost, 1, never), task("read", "", output{code: "not_found"}, 2, 3), task("read", "", output{title: "a", rev: "1"}, 4, 5),
		}, true},
		{"a lost create that was undone", "tasks", []step{
			task("create", "a", lost, 1, never), task("read", "", output{title: "a", rev: "1"}, 2, 3), task("read", "", output{code: "not_found"}, 4, 5),
		}, false},
		{"a lost patch that never was", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("patch", "b", lost, 3, never), task("read", "", output{title: "a", rev: "1"}, 4, 5),
		}, true},
		{"back from a lost patch", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("patch", "b", lost, 3, never), task("read", "", output{title: "b", rev: "2"}, 4, 5), task("read", "", output{title: "a", rev: "1"}, 6, 7),
		}, false},
		{"two at once in either order", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("patch", "b", output{title: "b", rev: "2"}, 3, 9), task("patch", "c", output{title: "c", rev: "3"}, 3, 9),
			task("read", "", output{title: "b", rev: "2"}, 10, 11),
		}, true},
		{"both of two that expected the same rev", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2),
			{input{key: "t", kind: "patch", text: "b", rev: "1"}, output{title: "b", rev: "2"}, 3, 9},
			{input{key: "t", kind: "patch", text: "c", rev: "1"}, output{title: "c", rev: "3"}, 3, 9},
		}, false},
		{"made again after it was deleted", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("delete", "", output{}, 3, 4), task("create", "b", output{title: "b", rev: "2"}, 5, 6),
		}, false},
		{"deleted twice", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("delete", "", output{}, 3, 4), task("delete", "", output{}, 5, 6),
		}, false},
		{"a change with the old rev", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), task("complete", "", output{title: "a", done: true, rev: "1"}, 3, 4),
		}, false},
		{"an own write that is not read", "tasks", []step{
			task("create", "a", output{title: "a", rev: "1"}, 1, 2), {input{key: "t", kind: "push", text: "b", was: "a"}, output{rev: "2"}, 3, 4}, task("read", "", output{title: "a", rev: "1"}, 5, 6),
		}, false},
		{"a lost move counts once", "levels", []step{
			{input{key: "l", kind: "adjust", n: 2}, lost, 1, never}, {input{key: "l", kind: "read"}, output{n: inLevel + 2}, 2, 3},
		}, true},
		{"a lost move counts twice", "levels", []step{
			{input{key: "l", kind: "adjust", n: 2}, lost, 1, never}, {input{key: "l", kind: "read"}, output{n: inLevel + 4}, 2, 3},
		}, false},
		{"below nothing", "levels", []step{
			{input{key: "l", kind: "adjust", n: -inLevel}, output{}, 1, 9}, {input{key: "l", kind: "adjust", n: -1}, output{}, 1, 9},
		}, false},
		{"an allocation taken back twice", "payments", []step{
			{input{key: "p", kind: "allocate", id: "a", n: 5}, output{}, 1, 2}, {input{key: "p", kind: "release", id: "a", n: 5}, output{}, 3, 4}, {input{key: "p", kind: "release", id: "a", n: 5}, output{}, 5, 6},
		}, false},
		{"the last administrator stays", "admins", []step{
			{input{key: "admins", kind: "revoke", id: "one", who: first}, output{code: "last_administrator"}, 1, 2},
		}, true},
		{"the last administrator goes", "admins", []step{
			{input{key: "admins", kind: "revoke", id: "one", who: first}, output{}, 1, 2},
		}, false},
		{"two take from each other at once", "admins", []step{
			{input{key: "admins", kind: "grant", id: "two", who: first, text: "admin-b"}, output{}, 1, 2},
			{input{key: "admins", kind: "revoke", id: "one", who: "admin-b"}, output{}, 3, 9},
			{input{key: "admins", kind: "revoke", id: "two", who: first}, output{}, 3, 9},
		}, false},
		{"one of two that take from each other", "admins", []step{
			{input{key: "admins", kind: "grant", id: "two", who: first, text: "admin-b"}, output{}, 1, 2},
			{input{key: "admins", kind: "revoke", id: "one", who: "admin-b"}, output{}, 3, 9},
			{input{key: "admins", kind: "revoke", id: "two", who: first}, output{code: "not_allowed"}, 3, 9},
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ops []porcupine.Operation
			for i, s := range c.steps {
				ops = append(ops, porcupine.Operation{ClientId: i, Input: s.in, Output: s.out, Call: s.from, Return: s.to})
			}
			if got := porcupine.CheckOperations(all[c.class], ops); got != c.may {
				t.Errorf("taken: %v", got)
			}
		})
	}
}
