package canary

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxDepth bounds how many encodings may lie in each other, maxUnpacked what one
// compressed part may come to, in bytes.
const (
	maxDepth    = 6
	maxUnpacked = 16 << 20
)

// Scanner finds tokens in bytes, however they are wrapped. Tokens are words ("zq"
// and twelve of [a-z0-9], which stand in texts and ids), numbers of nine digits
// and more, dates of the years 2060 to 2199, and 64 hexadecimal digits. The zero
// value is ready; it is for one goroutine.
type Scanner struct {
	// Decoded counts what was unwrapped, by encoding.
	Decoded map[string]int

	found map[string]bool
	seen  map[string]bool
}

// Find returns all tokens in b, each in its canonical form: words in lower case,
// numbers without separators.
func (s *Scanner) Find(b []byte) map[string]bool {
	if s.Decoded == nil {
		s.Decoded = map[string]int{}
	}
	s.found, s.seen = map[string]bool{}, map[string]bool{}
	s.look(b, 0)
	return s.found
}

func (s *Scanner) look(b []byte, depth int) {
	if len(b) < 8 || s.seen[string(b)] {
		return
	}
	s.seen[string(b)] = true
	s.match(b)
	if depth == maxDepth {
		return
	}
	into := func(encoding string, out []byte, ok bool) {
		if ok && len(out) >= 8 && !bytes.Equal(out, b) {
			s.Decoded[encoding]++
			s.look(out, depth+1)
		}
	}
	s.unpack(b, into)
	if bytes.IndexByte(b, '\\') >= 0 {
		into("json", unescape(b), true)
	}
	if bytes.IndexByte(b, '%') >= 0 {
		into("url", percent(b), true)
	}
	if bytes.IndexByte(b, '&') >= 0 {
		into("html", []byte(html.UnescapeString(string(b))), true)
	}
	if bytes.IndexByte(b, '=') >= 0 && printable.Match(b) {
		out, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(b)))
		into("quoted-printable", out, err == nil || len(out) > 0)
	}
	if bytes.Contains(b, []byte("=?")) {
		out, err := new(mime.WordDecoder).DecodeHeader(string(b))
		into("mime-word", []byte(out), err == nil)
	}
	if bytes.Contains(b[:min(len(b), 4096)], []byte("ersion: 1.0")) {
		if m, err := mail.ReadMessage(bytes.NewReader(b)); err == nil && m.Header.Get("Mime-Version") != "" {
			s.mail(m, into)
		}
	}
	s.alphabets(b, into)
}

// plain returns the tokens that stand in b as it is, words only where they
// begin: the server's own ids are of any letters.
func (s *Scanner) plain(b []byte) map[string]bool {
	s.found = map[string]bool{}
	s.match(b)
	for t := range s.found {
		if i := bytes.Index(b, []byte(t)); i > 0 && t[0] == 'z' && class[b[i-1]]&(digit|letter) != 0 {
			delete(s.found, t)
		}
	}
	return s.found
}

// Classes of bytes.
const (
	digit = 1 << iota
	letter
	hexDigit
	separator // within numbers
	std       // of base64
	urlSafe   // of base64 for addresses
)

var class = func() (c [256]uint8) {
	for i := range 256 {
		b := byte(i)
		switch {
		case b >= '0' && b <= '9':
			c[i] = digit | hexDigit | std | urlSafe
		case b >= 'a' && b <= 'f':
			c[i] = letter | hexDigit | std | urlSafe
		case b >= 'g' && b <= 'z', b >= 'A' && b <= 'Z':
			c[i] = letter | std | urlSafe
		case b == '.' || b == ',':
			c[i] = separator
		case b == '+' || b == '/':
			c[i] = std
		case b == '-' || b == '_':
			c[i] = urlSafe
		}
	}
	return c
}()

// run returns the end of the bytes of the classes that begin at i.
func run(b []byte, i int, of uint8) int {
	for i < len(b) && class[b[i]]&of != 0 {
		i++
	}
	return i
}

const wordLength = 14

// match notes the tokens that stand in b as it is.
func (s *Scanner) match(b []byte) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case (c == 'z' || c == 'Z') && i+wordLength <= len(b) && b[i+1]|0x20 == 'q' && run(b[:i+wordLength], i, digit|letter) == i+wordLength:
			s.found[strings.ToLower(string(b[i:i+wordLength]))] = true
		case class[c]&digit != 0 && (i == 0 || class[b[i-1]]&(digit|separator|letter) == 0):
			// A list of numbers is both one and many; digits among letters are none.
			if end := run(b, i, digit|separator); end-i >= 9 && (end == len(b) || class[b[end]]&letter == 0) {
				text := string(b[i:end])
				s.number(text)
				if strings.Contains(text, ",") {
					for one := range strings.SplitSeq(text, ",") {
						s.number(one)
					}
				}
			}
		}
		if b[i] == '2' && isDay(b[i:]) {
			s.found[string(b[i:i+10])] = true
		}
		if class[b[i]]&hexDigit != 0 && (i == 0 || class[b[i-1]]&hexDigit == 0) {
			if run(b, i, hexDigit) == i+64 {
				s.found[string(b[i:i+64])] = true
			}
		}
	}
}

// isDay reports whether b begins with a day of the years 2060 to 2199.
func isDay(b []byte) bool {
	if len(b) < 10 || b[4] != '-' || b[7] != '-' || b[0] != '2' || b[1] > '1' || (b[1] == '0' && b[2] < '6') {
		return false
	}
	for _, i := range []int{1, 2, 3, 5, 6, 8, 9} {
		if class[b[i]]&digit == 0 {
			return false
		}
	}
	return true
}

func (s *Scanner) number(text string) {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	if digits = strings.TrimLeft(digits, "0"); len(digits) >= 9 {
		s.found[digits] = true
		if whole := strings.TrimRight(digits, "0"); len(whole) >= 9 { // 12.30 for 1230
			s.found[whole] = true
		}
	}
}

// unpack takes apart what is compressed or an archive.
func (s *Scanner) unpack(b []byte, into func(string, []byte, bool)) {
	read := func(encoding string, r io.Reader, err error) {
		if err != nil {
			return
		}
		out, _ := io.ReadAll(io.LimitReader(r, maxUnpacked)) // what came before an error counts
		into(encoding, out, true)
	}
	if i := bytes.Index(b, magicGzip); i >= 0 {
		r, err := gzip.NewReader(bytes.NewReader(b[i:]))
		read("gzip", r, err)
	}
	if i := bytes.Index(b, magicZstd); i >= 0 {
		r, err := zstd.NewReader(bytes.NewReader(b[i:]), zstd.WithDecoderConcurrency(1))
		read("zstd", r, err)
		if r != nil {
			r.Close()
		}
	}
	if zlibbed(b) {
		r, err := zlib.NewReader(bytes.NewReader(b))
		read("zlib", r, err)
	}
	if i := bytes.Index(b, magicZip); i >= 0 {
		z, err := zip.NewReader(bytes.NewReader(b[i:]), int64(len(b)-i))
		if err != nil {
			return
		}
		for _, f := range z.File {
			into("zip-name", []byte(f.Name), true)
			r, err := f.Open()
			read("zip", r, err)
		}
	}
}

// What compressed bytes and archives begin with.
var (
	magicGzip = []byte{0x1f, 0x8b, 8}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicZip  = []byte("PK\x03\x04")
)

func zlibbed(b []byte) bool { return b[0]&0x0f == 8 && (int(b[0])<<8+int(b[1]))%31 == 0 }

// mail takes a message apart: its headers, and each part by its own encoding.
func (s *Scanner) mail(m *mail.Message, into func(string, []byte, bool)) {
	for _, vs := range m.Header {
		for _, v := range vs {
			out, err := new(mime.WordDecoder).DecodeHeader(v)
			into("mail-header", []byte(out), err == nil)
		}
	}
	part := func(encoding string, r io.Reader) {
		switch strings.ToLower(encoding) {
		case "quoted-printable":
			r = quotedprintable.NewReader(r)
		case "base64":
			r = base64.NewDecoder(base64.StdEncoding, r)
		}
		out, _ := io.ReadAll(io.LimitReader(r, maxUnpacked))
		into("mail-part", out, true)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		part(m.Header.Get("Content-Transfer-Encoding"), m.Body)
		return
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err != nil {
			return
		}
		part(p.Header.Get("Content-Transfer-Encoding"), p)
	}
}

var printable = regexp.MustCompile(`=(?:[0-9A-Fa-f]{2}|\r?\n)`)

// alphabets decodes what looks like base64 or hex. A run may begin with letters
// that don't belong to it, so each alignment is tried.
func (s *Scanner) alphabets(b []byte, into func(string, []byte, bool)) {
	runs := func(of uint8, enc *base64.Encoding, name string) {
		for i := 0; i < len(b); i++ {
			end := run(b, i, of)
			if end == i {
				continue
			}
			text := b[i:end]
			i = end
			if len(text) >= 12 && of&std != 0 { // in mails it goes on after the end of a line
				for end < len(b) && (b[end] == '\r' || b[end] == '\n') {
					next := end + 1
					if b[end] == '\r' && next < len(b) && b[next] == '\n' {
						next++
					}
					if end = run(b, next, of); end == next {
						break
					}
					text, i = append(slices.Clip(text), b[next:end]...), end
				}
			}
			for off := range 4 {
				if part := text[min(off, len(text)):]; len(part) >= 12 {
					if len(part)%4 == 1 {
						part = part[:len(part)-1]
					}
					out := make([]byte, enc.DecodedLen(len(part)))
					n, err := enc.Decode(out, part)
					if err == nil && plausible(out[:n]) {
						into(name, out[:n], true)
					}
				}
			}
		}
	}
	runs(std, base64.RawStdEncoding, "base64")
	if bytes.ContainsAny(b, "-_") {
		runs(urlSafe, base64.RawURLEncoding, "base64url")
	}
	for i := 0; i < len(b); i++ {
		end := i
		for end < len(b) && (class[b[end]]&hexDigit != 0 || b[end] >= 'A' && b[end] <= 'F') {
			end++
		}
		if end-i >= 16 {
			for off := range 2 {
				part := b[i+off : end]
				part = part[:len(part)/2*2]
				out := make([]byte, len(part)/2)
				n, err := hex.Decode(out, part)
				into("hex", out[:n], err == nil && plausible(out[:n]))
			}
		}
		i = max(i, end)
	}
}

// plausible reports whether decoded bytes can hold a token: most of what looks
// like base64 is none, and comes out as noise.
func plausible(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	if bytes.Contains(b, magicGzip) || bytes.Contains(b, magicZstd) || bytes.Contains(b, magicZip) || zlibbed(b) {
		return true
	}
	// Eight characters of plain text in a row.
	n := 0
	for _, c := range b {
		if c >= ' ' && c < 0x7f {
			if n++; n == 8 {
				return true
			}
		} else {
			n = 0
		}
	}
	return false
}

// unescape undoes JSON's escapes, wherever they stand.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		n := 2
		if b[i+1] == 'u' {
			n = 6
		}
		var s string
		if i+n <= len(b) && json.Unmarshal([]byte(`"`+string(b[i:i+n])+`"`), &s) == nil {
			out = append(out, s...)
			i += n - 1
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// percent undoes URL encoding; what is none stays.
func percent(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+3 <= len(b) {
			if s, err := url.PathUnescape(string(b[i : i+3])); err == nil {
				out = append(out, s...)
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// wordIn returns the first word in a text, "" for none.
func wordIn(text string) string {
	var s Scanner
	for t := range s.plain([]byte(text)) {
		if strings.HasPrefix(t, "zq") {
			return t
		}
	}
	return ""
}
