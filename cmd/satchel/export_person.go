package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/server/rest"
	"satchel/sync/tenant"
)

// exportPerson writes all that is held of a person as a ZIP.
func (f *folder) exportPerson(ctx context.Context, given, out, config string) error {
	if out == "" || out == "-" {
		return usageError{errors.New("--person needs --out FILE, which becomes a ZIP")}
	}
	blobs, err := blobsOf(f.data, config)
	if err != nil {
		return err
	}
	content := func(ctx context.Context, t ident.TenantID, digest string) (io.ReadCloser, error) {
		return blobs.Open(ctx, t, blob.Key(digest), 0, -1)
	}
	return f.open(func(t *tenant.Tenant) error {
		id, err := personOf(t, given)
		if err != nil {
			return err
		}
		var got rest.PersonExport
		if err := writeWhole(out, func(w io.Writer) (err error) {
			got, err = rest.ExportPerson(ctx, t, id, content, w)
			return err
		}); err != nil {
			return err
		}
		return f.print(got, fmt.Sprintf("%s: %d records, %d made, %d rows of the trail, %d files in %s\n", id, got.Records, got.Authored, got.Rows, got.Files, out))
	})
}
