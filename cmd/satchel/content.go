package main

import (
	"fmt"
	"os"
	"strings"

	"satchel/internal/app"
	"satchel/server/blob"
)

// fileSettings say what files are taken, and where their content is kept if
// not in the data folder.
type fileSettings struct {
	MaxUploadMiB int64       `json:"maxUploadMiB"`
	PersonMiB    int64       `json:"personMiB"` // of a person's uploads under way
	TenantGiB    int64       `json:"tenantGiB"`
	Types        []string    `json:"types"` // media types; the default list if empty
	S3           *s3Settings `json:"s3"`
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
