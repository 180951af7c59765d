package files

import (
	"crypto/sha1" //nolint:gosec // of the protocol: it finds damage on the way, nothing relies on it
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"satchel/internal/fault"
)

// Limits of what a client says about an upload.
const (
	maxMetadata = 4 << 10 // bytes of the header
	maxPairs    = 32
	maxName     = 255 // characters of a file's name
)

func badHeader(name, format string, args ...any) error {
	return fault.Newf(fault.BadParameter, format, args...).OnField(name)
}

// parseMetadata reads an Upload-Metadata header: pairs of a key and its value
// in base64, which may be left out, separated by commas.
func parseMetadata(header string) (map[string]string, error) {
	bad := func(why string) error { return badHeader("Upload-Metadata", "Upload-Metadata %s.", why) }
	if len(header) > maxMetadata {
		return nil, bad("is too long")
	}
	out := map[string]string{}
	if strings.TrimSpace(header) == "" {
		return out, nil
	}
	for pair := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.Trim(pair, " "), " ")
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, bad("has a key that is not printable ASCII")
		}
		if _, twice := out[key]; twice {
			return nil, bad("has a key twice")
		}
		if len(out) == maxPairs {
			return nil, bad("has too many pairs")
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || strings.ContainsAny(value, "\r\n") {
			return nil, bad("has a value that is not base64")
		}
		out[key] = string(raw)
	}
	return out, nil
}

// cleanName makes of a name that a person or a client gave one that can be
// shown and offered for saving: no path, no control or invisible characters,
// none that turn the direction of writing, no dots or spaces around it. It may
// be empty.
func cleanName(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "_")
	}
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.Is(unicode.C, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		case strings.ContainsRune(`<>:"|?*`, r):
			return '_'
		}
		return r
	}, s)
	s = strings.Trim(s, ". \u00a0")
	if r := []rune(s); len(r) > maxName {
		// What is cut out is not the extension.
		ext := ""
		if i := strings.LastIndexByte(s, '.'); i >= 0 && len(s)-i <= 16 {
			ext = s[i:]
		}
		s = string(r[:maxName-utf8.RuneCountInString(ext)]) + ext
	}
	return s
}

// disposition renders a Content-Disposition that makes browsers save rather
// than show, with a name in ASCII for old ones and as it is for others (RFC
// 6266, RFC 5987).
func disposition(name string) string {
	var plain, encoded strings.Builder
	for _, r := range name {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			plain.WriteByte('_')
		} else {
			plain.WriteRune(r)
		}
	}
	for _, b := range []byte(name) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0 {
			encoded.WriteByte(b)
		} else {
			encoded.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15])))
		}
	}
	return `attachment; filename="` + plain.String() + `"; filename*=UTF-8''` + encoded.String()
}

// whole reads a header that is a number of bytes.
func whole(name, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || value[0] == '+' || value[0] == '-' {
		return 0, badHeader(name, "%s must be a number of bytes.", name)
	}
	return n, nil
}

// checksum is what a client says its bytes hash to.
type checksum struct {
	hash hash.Hash
	want string
}

// checksumAlgorithms are those of Upload-Checksum, as announced.
const checksumAlgorithms = "sha1,sha256"

// parseChecksum reads an Upload-Checksum header, nil for none.
func parseChecksum(header string) (*checksum, error) {
	if header == "" {
		return nil, nil
	}
	algorithm, value, _ := strings.Cut(header, " ")
	c := &checksum{}
	switch algorithm {
	case "sha1":
		c.hash = sha1.New() //nolint:gosec // see the import
	case "sha256":
		c.hash = sha256.New()
	default:
		return nil, badHeader("Upload-Checksum", "Upload-Checksum takes one of %s.", checksumAlgorithms)
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(raw) != c.hash.Size() {
		return nil, badHeader("Upload-Checksum", "Upload-Checksum has no hash of the right length in base64.")
	}
	c.want = string(raw)
	return c, nil
}

// holds reports whether the bytes hashed are those the client meant.
func (c *checksum) holds() bool { return string(c.hash.Sum(nil)) == c.want }
