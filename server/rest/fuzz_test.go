package rest

import (
	"testing"

	"satchel/internal/entity"
	"satchel/server/module"
)

// FuzzFilter: whatever is asked, parsing ends with a query or a coded refusal,
// and a query judges a record without a panic.
func FuzzFilter(f *testing.F) {
	cat, err := module.Catalogue()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`name eq "a b"`, `phones in (1, "2")`, `creditLimit gt 5 and dunningHold ne true`, `position null false`, `salesArea eq area-north`,
		`serviceLevel ge priority`, `createdAt lt 2026-01-01`, `name contains ""`, `dunningHold eq ""`, `paymentTermDays eq -`, `id in (`, `"name" eq a`, `name lt ""`,
	} {
		f.Add(s, "-name,creditLimit", "acme")
	}
	t := cat.Type("client")
	full := &row{id: []byte("client-1")}
	for no, v := range map[string]string{
		"name": `"A \"b\" é"`, "phones": `["1","2"]`, "creditLimit": `{"amount":-5,"currency":"EUR"}`, "dunningHold": "true", "salesArea": `"area-north"`,
		"serviceLevel": `"priority"`, "createdAt": `"2026-01-01T00:00:00.000Z"`, "paymentTermDays": "30", "position": `{"lat":1,"lng":2}`,
	} {
		full.values[t.Field(no).No] = entity.Value(v)
	}
	f.Fuzz(func(_ *testing.T, filter, sort, search string) {
		q, err := parse(t, t.All(), map[string]string{"filter": filter, "sort": sort, "q": search})
		if err != nil {
			return
		}
		for _, r := range []*row{full, {id: []byte("client-2")}} {
			for i := range q.where {
				q.where[i].holds(r)
			}
			q.found(r)
			var key []byte
			for _, s := range q.sorts {
				key = s.append(key, r)
			}
		}
	})
}

// FuzzCursor: nothing but what was sealed opens.
func FuzzCursor(f *testing.F) {
	s := newSealer([32]byte{7})
	f.Add(s.seal([]byte("a"), "b"), "c")
	f.Add("AAAA", "b")
	f.Fuzz(func(t *testing.T, cursor, binding string) {
		what, err := s.open(cursor, binding)
		if err == nil && s.seal(what, binding) != cursor {
			t.Errorf("opened %q, which was never sealed", cursor)
		}
	})
}
