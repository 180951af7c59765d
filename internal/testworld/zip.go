package testworld

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"
)

// Unzip returns the entries of a zip archive by their names.
func Unzip(t testing.TB, raw []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	files := map[string]string{}
	for _, e := range r.File {
		f, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name] = string(b)
	}
	return files
}
