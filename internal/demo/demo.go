package demo

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/importer"
	"satchel/server/module"
	"satchel/sync/apply"
)

// Tenant is the demo tenant's slug.
const Tenant ident.TenantID = "demo"

// Password is that of every demo sign-in.
const Password = "satchel-demo-1"

//go:embed data/*.csv
var files embed.FS

// Licence is the licence of the data that the demo is made from.
//
//go:embed data/LICENSE
var Licence string

// sample is the AdventureWorks part as rows, the same ones every time.
var sample = sync.OnceValue(func() []command.Row {
	rows, err := readSample()
	if err != nil {
		panic(fmt.Sprintf("demo: the data in the program is damaged: %v", err))
	}
	return rows
})

func readSample() ([]command.Row, error) {
	cat, err := module.Catalogue()
	if err != nil {
		return nil, err
	}
	m, err := importer.Load("adventureworks")
	if err != nil {
		return nil, err
	}
	dir, err := fs.Sub(files, "data")
	if err != nil {
		return nil, err
	}
	var rows []command.Row
	rep, err := importer.Run(context.Background(), importer.Options{
		Mapping: m, Catalogue: cat, From: dir, Rejects: io.Discard,
		To: importer.SubmitFunc(func(_ context.Context, batch *command.Import) (apply.ImportCount, error) {
			rows = append(rows, batch.Rows...)
			return apply.ImportCount{Created: len(batch.Rows)}, nil
		}),
	})
	if err == nil && rep.Rejected > 0 {
		err = fmt.Errorf("%d rows rejected", rep.Rejected)
	}
	return rows, err
}

// Rows returns the demo tenant's records in an order in which they can be
// imported. They are a function of now alone: scheduled work lies around it,
// some of it on its UTC day for everybody who goes out. Some records come
// twice, the second time with what can only be said later. The rows are the
// caller's, their fields are shared.
func Rows(now ident.Millis) []command.Row { return newBuilder(now).build() }

// Signin is a person who can sign in, as it stands in demo-signins.json.
type Signin struct {
	Tenant   ident.TenantID `json:"tenant"`
	Email    string         `json:"email"`
	Password string         `json:"password"`
	Roles    []string       `json:"roles"` // keys of the manual's roles
	Name     string         `json:"name"`
}

// Signins lists who can sign in: for each role at least one person who holds
// it alone.
func Signins() []Signin {
	out := make([]Signin, 0, len(people))
	for _, p := range people {
		out = append(out, Signin{Tenant: Tenant, Email: p.email(), Password: Password, Roles: append([]string(nil), p.roles...), Name: p.name})
	}
	return out
}

// Load brings the demo into a tenant that has been set up, without an
// administrator of its own: the demo has one. submit carries a command out as
// the system; hash turns the password into what is stored and is called once.
// progress, if not nil, is told how many of all rows are done and what comes
// next. A row that is rejected is an error: the demo fits the program it is
// in. Load is for a new tenant: again with the same now it changes nothing but
// the passwords, which it sets back, signing everybody out; with another now
// the same work would belong to other clients, which is refused.
func Load(
	ctx context.Context, submit func(context.Context, *command.Command) (apply.Result, error),
	hash func(password string) (string, error), now ident.Millis, progress func(done, total int, label string),
) error {
	rows := Rows(now)
	hashed, err := hash(Password)
	if err != nil {
		return fmt.Errorf("demo: hashing the password: %w", err)
	}
	tell := func(done int, label string) {
		if progress != nil {
			progress(done, len(rows)+len(people), label)
		}
	}
	for done := 0; done < len(rows); {
		n, err := batch(rows[done:])
		if err != nil {
			return err
		}
		part := rows[done : done+n]
		res, err := submit(ctx, &command.Command{Import: &command.Import{Rows: part}})
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if len(res.Count.Rejected) > 0 {
			x := res.Count.Rejected[0]
			return fmt.Errorf("demo: %s %s was rejected: %w", part[x.Index].Type, part[x.Index].ID, x.Err)
		}
		done += n
		tell(done, part[n-1].Type)
	}
	for i, p := range people {
		if _, err := submit(ctx, &command.Command{Secret: &command.Secret{Employee: p.id(), Hash: hashed}}); err != nil {
			return fmt.Errorf("demo: setting a password: %w", err)
		}
		tell(len(rows)+i+1, "sign-ins")
	}
	return nil
}

// batch returns how many of the rows go into the next command.
func batch(rows []command.Row) (int, error) {
	size := 0
	for i := range rows {
		raw, err := json.Marshal(&rows[i])
		if err != nil {
			return 0, fmt.Errorf("demo: %w", err)
		}
		if size += len(raw) + 1; i > 0 && (size > importer.MaxBatchBytes || i == importer.MaxBatchRows) {
			return i, nil
		}
	}
	return len(rows), nil
}
