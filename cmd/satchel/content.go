package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"satchel/internal/app"
	"satchel/server/blob"
	"satchel/server/files"
	"satchel/server/files/clamd"
)

// fileSettings say what files are taken, and where their content is kept if
// not in the data folder.
type fileSettings struct {
	MaxUploadMiB int64       `json:"maxUploadMiB"`
	PersonMiB    int64       `json:"personMiB"` // of a person's uploads under way
	TenantGiB    int64       `json:"tenantGiB"`
	Types        []string    `json:"types"` // media types; the default list if empty
	S3           *s3Settings `json:"s3"`
	// Scanner judges files before anybody can have them; none if absent.
	Scanner *scannerSettings `json:"scanner"`
}

// scannerSettings say who judges files, and what becomes of those that can't
// be judged.
type scannerSettings struct {
	Clamd          string `json:"clamd"`   // unix:/run/clamav/clamd.ctl or tcp://host:3310
	OnError        string `json:"onError"` // hold, unless it says refuse
	TimeoutSeconds int    `json:"timeoutSeconds"`
	AtOnce         int    `json:"atOnce"`
	// MaxMiB is the daemon's StreamMaxLength: no larger files are taken.
	MaxMiB int64 `json:"maxMiB"`
}

// set sets the scanner's part of the configuration.
func (in *scannerSettings) set(to *app.Config) error {
	if in == nil {
		return nil
	}
	if in.TimeoutSeconds < 0 || in.AtOnce < 0 || in.MaxMiB < 0 {
		return usageError{errors.New("files: scanner: a limit is less than nothing")}
	}
	switch to.Unscanned = files.Unscanned(in.OnError); to.Unscanned {
	case "", files.Hold, files.Refuse:
	default:
		return usageError{fmt.Errorf("files: scanner: onError %q: %s or %s", in.OnError, files.Hold, files.Refuse)}
	}
	c, err := clamd.New(clamd.Config{Address: in.Clamd, Timeout: time.Duration(in.TimeoutSeconds) * time.Second, AtOnce: in.AtOnce})
	if err != nil {
		return usageError{fmt.Errorf("files: scanner: %w", err)}
	}
	to.Scanner = c
	if most := in.MaxMiB << 20; most > 0 && (to.Files.Upload == 0 || most < to.Files.Upload) {
		to.Files.Upload = most
	}
	return nil
}

// s3Settings name a bucket of an S3-compatible storage.
type s3Settings struct {
	Endpoint      string `json:"endpoint"`
	Region        string `json:"region"`
	Bucket        string `json:"bucket"`
	Prefix        string `json:"prefix"`
	AccessKey     string `json:"accessKey"`
	SecretKeyFile string `json:"secretKeyFile"`
}

// content sets the files' part of the configuration.
func content(in *fileSettings, to *app.Config) error {
	if in == nil {
		return nil
	}
	if in.MaxUploadMiB < 0 || in.PersonMiB < 0 || in.TenantGiB < 0 {
		return usageError{fmt.Errorf("files: a limit is less than nothing")}
	}
	to.Files.Upload, to.Files.OpenBytes, to.Files.TenantBytes, to.Files.Types = in.MaxUploadMiB<<20, in.PersonMiB<<20, in.TenantGiB<<30, in.Types
	if err := in.Scanner.set(to); err != nil {
		return err
	}
	if in.S3 == nil {
		return nil
	}
	key, err := os.ReadFile(in.S3.SecretKeyFile)
	if err != nil || len(key) > maxSecret {
		return usageError{fmt.Errorf("files: the key of the storage can't be read from %q", in.S3.SecretKeyFile)}
	}
	to.Content, err = blob.NewS3(blob.S3Options{
		Endpoint: in.S3.Endpoint, Region: in.S3.Region, Bucket: in.S3.Bucket, Prefix: in.S3.Prefix, AccessKey: in.S3.AccessKey,
		SecretKey: strings.TrimSpace(string(key)),
	})
	if err != nil {
		return usageError{fmt.Errorf("files: %w", err)}
	}
	return nil
}
