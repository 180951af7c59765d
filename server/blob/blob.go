// Package blob keeps the bytes of files by what they are: content is named by
// its SHA-256, per tenant. Who may read which is not its business: documents
// refer to content, and server/files asks for the right to the document each
// time. Folder and S3 are the places there are; blobtest is the suite both
// pass.
//
// Content at rest is as safe as its place: the folder belongs on an encrypted
// file system, a bucket should have encryption as its default. Content is
// never encrypted here: a name that is the hash of the content and a key per
// tenant don't go together.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"satchel/internal/ident"
)

// ErrNotFound says that there is no such content, for errors.Is.
var ErrNotFound = errors.New("blob: not found")

// Key names content within a tenant: its SHA-256 in lowercase hex, or what was
// derived from that content: the SHA-256, a dot and the name of the variant, 1
// to 16 characters of a-z and 0-9.
type Key string

// KeyOf is the key of content with the digest.
func KeyOf(digest [sha256.Size]byte) Key { return Key(hex.EncodeToString(digest[:])) }

// Variant is the key of what is derived from k's content.
func (k Key) Variant(name string) Key { return Key(k.Digest() + "." + name) }

// Digest is the SHA-256 of the content, or of the content it is derived from,
// in lowercase hex.
func (k Key) Digest() string {
	d, _, _ := strings.Cut(string(k), ".")
	return d
}

// Derived reports whether k names a variant.
func (k Key) Derived() bool { return strings.Contains(string(k), ".") }

// maxVariant bounds the name of a variant, in characters.
const maxVariant = 16

// Valid reports whether k is a key. Only a valid key is a safe file name.
func (k Key) Valid() bool {
	digest, variant, derived := strings.Cut(string(k), ".")
	if len(digest) != 2*sha256.Size || derived && (variant == "" || len(variant) > maxVariant) {
		return false
	}
	for _, c := range []byte(digest) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	for _, c := range []byte(variant) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Info is what is known of content without reading it.
type Info struct {
	Key      Key
	Size     int64     // bytes
	Modified time.Time // when it was put, last
}

// Store keeps content. Its methods may be called by many goroutines. A tenant
// or key that can't be one is an error of every method.
type Store interface {
	// Put keeps the content of a local file under the key, durably once it
	// returns. The file is the store's from then on: it may be moved away, and
	// is gone afterwards unless Put failed. Content that is there already is
	// kept, and counts as put anew.
	Put(ctx context.Context, tenant ident.TenantID, k Key, file string) error
	// Open reads length bytes from offset on, to the end where length is
	// negative. It returns ErrNotFound where there is no such content; ctx
	// bounds the reading too.
	Open(ctx context.Context, tenant ident.TenantID, k Key, offset, length int64) (io.ReadCloser, error)
	// Stat returns ErrNotFound where there is no such content.
	Stat(ctx context.Context, tenant ident.TenantID, k Key) (Info, error)
	// Delete is no error where there is no such content.
	Delete(ctx context.Context, tenant ident.TenantID, k Key) error
	// Each calls f for everything a tenant has, in no certain order, until f
	// returns an error, which it returns. f may call Delete.
	Each(ctx context.Context, tenant ident.TenantID, f func(Info) error) error
}

// check refuses what can't be the name of anything here.
func check(tenant ident.TenantID, k Key) error {
	if !k.Valid() {
		return fmt.Errorf("blob: %q is no key", string(k))
	}
	return checkTenant(tenant)
}

func checkTenant(tenant ident.TenantID) error {
	if tenant == "" || len(tenant) > 40 || strings.Trim(string(tenant), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("blob: %q is no tenant", string(tenant))
	}
	return nil
}
