package canary

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"mime"
	"mime/quotedprintable"
	"net/url"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// isBinary are the encodings that don't give text, takesBytes those that take
// anything, from its first byte.
var (
	isBinary   = map[string]bool{"gzip": true, "zlib": true, "zstd": true, "zip": true, "name in a zip": true}
	takesBytes = map[string]bool{
		"plain": true, "base64": true, "base64 unpadded": true, "base64 in lines": true, "hex": true, "upper hex": true, "gzip": true, "zlib": true, "zstd": true, "zip": true,
	}
)

// wrappings are all encodings that a token may leave in.
var wrappings = map[string]func([]byte) []byte{
	"plain": func(b []byte) []byte { return b },
	"json": func(b []byte) []byte {
		var out strings.Builder
		for _, c := range b {
			fmt.Fprintf(&out, `\u%04x`, c)
		}
		return fmt.Appendf(nil, `{"a":"%s"}`, out.String())
	},
	"json in json": func(b []byte) []byte {
		one, _ := json.Marshal(map[string]string{"x": string(b) + "\n\"é<"})
		two, _ := json.Marshal(string(one))
		return two
	},
	"base64":          func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) },
	"base64 unpadded": func(b []byte) []byte { return []byte(base64.RawStdEncoding.EncodeToString(b)) },
	"base64url":       func(b []byte) []byte { return []byte(base64.URLEncoding.EncodeToString(append([]byte("??>>"), b...))) },
	"base64url unpadded": func(b []byte) []byte {
		return []byte(base64.RawURLEncoding.EncodeToString(append([]byte("??>>"), b...)))
	},
	"base64 behind words": func(b []byte) []byte { return []byte("/v1/x/" + base64.StdEncoding.EncodeToString(b)) },
	"base64 in lines": func(b []byte) []byte {
		s := base64.StdEncoding.EncodeToString(b)
		return []byte("\r\n" + s[:12] + "\r\n" + s[12:])
	},
	"hex":        func(b []byte) []byte { return []byte(hex.EncodeToString(b)) },
	"upper hex":  func(b []byte) []byte { return []byte(strings.ToUpper(hex.EncodeToString(b))) },
	"upper case": bytes.ToUpper,
	"url":        func(b []byte) []byte { return []byte("q=" + url.QueryEscape("é "+string(b))) },
	"url, all of it": func(b []byte) []byte {
		return []byte(fmt.Sprintf("%%%s", strings.Join(pairs(hex.EncodeToString(b)), "%")))
	},
	"quoted-printable": func(b []byte) []byte { return quoted(b) },
	"mime word":        func(b []byte) []byte { return []byte("Subject: " + mime.BEncoding.Encode("utf-8", "é "+string(b))) },
	"mime q word":      func(b []byte) []byte { return []byte("Subject: " + mime.QEncoding.Encode("utf-8", "é "+string(b))) },
	"html": func(b []byte) []byte {
		var out strings.Builder
		for _, c := range b {
			fmt.Fprintf(&out, "&#%d;", c)
		}
		return []byte(html.EscapeString("<&>") + out.String())
	},
	"gzip": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	},
	"zlib": func(b []byte) []byte {
		var out bytes.Buffer
		w := zlib.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	},
	"zstd": func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(b, nil)
	},
	"zip": func(b []byte) []byte {
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		f, _ := w.Create("xl/sheet.xml")
		_, _ = f.Write(b)
		_ = w.Close()
		return out.Bytes()
	},
	"name in a zip": func(b []byte) []byte {
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		_, _ = w.Create(string(b) + ".txt")
		_ = w.Close()
		return out.Bytes()
	},
	"mail": func(b []byte) []byte {
		return fmt.Appendf(nil, "Mime-Version: 1.0\r\nSubject: x\r\nContent-Type: multipart/alternative; boundary=bb\r\n\r\n"+
			"--bb\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--bb--\r\n",
			base64.StdEncoding.EncodeToString(append([]byte("\xc3\xa9\xc3\xa9"), b...)))
	},
	"token of three parts": func(b []byte) []byte {
		part := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":"%s"}`, b))
		return []byte("eyJhbGciOiJFZERTQSJ9." + part + ".AAAA")
	},
}

func pairs(s string) (out []string) {
	for i := 0; i < len(s); i += 2 {
		out = append(out, s[i:i+2])
	}
	return out
}

// quoted writes quoted-printable with a line that breaks within the token.
func quoted(b []byte) []byte {
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write(append(bytes.Repeat([]byte("é "), 14), b...))
	_ = w.Close()
	return out.Bytes()
}

// TestScannerHears plants a token in every encoding, and in every encoding of
// every encoding, and looks for it.
func TestScannerHears(t *testing.T) {
	for _, token := range []string{"zq4k2m9x7w3v5t", "731234567890", "2071-03-05"} {
		for outer, wrap := range wrappings {
			for inner, wrap2 := range wrappings {
				if strings.Contains(outer+inner, "upper") && (token[0] == 'z' && outer != inner || outer == "upper case" || inner == "upper case") {
					if outer != "plain" && inner != "plain" {
						continue // an encoding in capitals is another encoding
					}
				}
				if outer == "name in a zip" && inner != "plain" {
					continue // names are short
				}
				if isBinary[inner] && !takesBytes[outer] {
					continue // no text holds bytes as they are
				}
				var s Scanner
				text := []byte("[" + token + "]")
				if got := s.Find(wrap(wrap2(text))); !got[token] {
					t.Errorf("%s in %s in %s is not heard: %v", token, inner, outer, got)
				}
			}
		}
	}
}

// TestScannerIsQuiet: what is no token is not taken for one.
func TestScannerIsQuiet(t *testing.T) {
	var s Scanner
	got := s.Find([]byte(`{"rev":"9f8e7d6c5b4a3210","n":12345678,"at":"2026-03-02T10:00:00.000Z","w":"zq4k2m","d":"2026-01-01"}`))
	for g := range got {
		if !strings.HasPrefix(g, "9") { // digits of a rev may stand together
			t.Errorf("%q", g)
		}
	}
}

// FuzzScanner: whatever it is fed with, it comes to an end.
func FuzzScanner(f *testing.F) {
	for _, wrap := range wrappings {
		f.Add(wrap([]byte("zq4k2m9x7w3v5t")))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var s Scanner
		s.Find(b)
	})
}
