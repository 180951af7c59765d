package main

import (
	"os"
	"path/filepath"
	"testing"

	"satchel/internal/app"
	"satchel/server/files"
)

// TestContentSettings: limits come in the units of the file, and half a storage
// is refused before anything starts.
func TestContentSettings(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var to app.Config
	if err := content(nil, &to); err != nil || to.Content != nil || to.Files.Upload != 0 {
		t.Errorf("%v %+v", err, to.Files)
	}
	whole := &s3Settings{Endpoint: "https://s3.example", Region: "eu-1", Bucket: "b", AccessKey: "a", SecretKeyFile: key}
	if err := content(&fileSettings{MaxUploadMiB: 5, PersonMiB: 6, TenantGiB: 7, Types: []string{"image/png"}, S3: whole}, &to); err != nil {
		t.Fatal(err)
	}
	if to.Files.Upload != 5<<20 || to.Files.OpenBytes != 6<<20 || to.Files.TenantBytes != 7<<30 || len(to.Files.Types) != 1 || to.Content == nil {
		t.Errorf("%+v", to.Files)
	}
	for _, x := range []struct {
		in    scannerSettings
		most  int64
		after files.Unscanned
	}{
		{scannerSettings{Clamd: "unix:/run/clamd.ctl"}, 5 << 20, ""},
		{scannerSettings{Clamd: "tcp://clamd:3310", OnError: "refuse", MaxMiB: 3}, 3 << 20, files.Refuse},
		{scannerSettings{Clamd: "tcp://clamd:3310", OnError: "hold", MaxMiB: 30}, 5 << 20, files.Hold},
	} {
		to = app.Config{}
		if err := content(&fileSettings{MaxUploadMiB: 5, Scanner: &x.in}, &to); err != nil || to.Scanner == nil || to.Files.Upload != x.most || to.Unscanned != x.after {
			t.Errorf("%+v: %v, %d %q", x.in, err, to.Files.Upload, to.Unscanned)
		}
	}
	for name, bad := range map[string]*fileSettings{
		"no daemon":        {Scanner: &scannerSettings{}},
		"another choice":   {Scanner: &scannerSettings{Clamd: "tcp://clamd:3310", OnError: "take"}},
		"negative seconds": {Scanner: &scannerSettings{Clamd: "tcp://clamd:3310", TimeoutSeconds: -1}},
		"a negative limit": {MaxUploadMiB: -1},
		"no key":           {S3: &s3Settings{Endpoint: "https://s3.example", Region: "eu-1", Bucket: "b", AccessKey: "a", SecretKeyFile: key + "x"}},
		"no bucket":        {S3: &s3Settings{Endpoint: "https://s3.example", Region: "eu-1", AccessKey: "a", SecretKeyFile: key}},
		"no endpoint":      {S3: &s3Settings{Endpoint: "s3.example", Region: "eu-1", Bucket: "b", AccessKey: "a", SecretKeyFile: key}},
	} {
		if err := content(bad, &app.Config{}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
