package files

import (
	"bytes"
	"encoding/base64"
	"maps"
	"mime"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMetadata(t *testing.T) {
	for _, c := range []struct {
		header string
		want   map[string]string // nil where it is refused
	}{
		{"", map[string]string{}},
		{"  ", map[string]string{}},
		{"a", map[string]string{"a": ""}},
		{"a ", map[string]string{"a": ""}},
		{"a YQ==", map[string]string{"a": "a"}},
		{"a YQ==,b Yg==", map[string]string{"a": "a", "b": "b"}},
		{"a YQ==, b Yg==", map[string]string{"a": "a", "b": "b"}},
		{"a YQ==,a Yg==", nil},
		{"a YQ", nil},
		{"a YR==", nil}, // bits that mean nothing
		{"a YQ==\n", nil},
		{"a  YQ==", nil},
		{"a YQ== x", nil},
		{",", nil},
		{"a YQ==,", nil},
		{" YQ==", map[string]string{"YQ==": ""}},
		{"ä YQ==", nil},
		{"a\tYQ==", nil},
		{strings.Repeat("a", 4097), nil},
		{"a0,a1,a2,a3,a4,a5,a6,a7,a8,a9,b0,b1,b2,b3,b4,b5,b6,b7,b8,b9,c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,d0,d1,d2", nil},
	} {
		got, err := parseMetadata(c.header)
		if (err == nil) != (c.want != nil) || err == nil && !maps.Equal(got, c.want) {
			t.Errorf("%.40q: %v %v", c.header, got, err)
		}
	}
}

// FuzzMetadata: whatever is taken can be written again and means the same.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"", "a YQ==", "document ZG9jLW5ldy0x,filename YS5wbmc=", "a,b,c", ", ,", "a YQ==,a", "\x00", "a =" /* padding alone */} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, err := parseMetadata(header)
		if err != nil {
			return
		}
		var out []string
		for k, v := range got {
			if k == "" || strings.ContainsAny(k, ", ") {
				t.Fatalf("key %q", k)
			}
			out = append(out, k+" "+base64.StdEncoding.EncodeToString([]byte(v)))
		}
		again, err := parseMetadata(strings.Join(out, ","))
		if len(strings.Join(out, ",")) <= maxMetadata && (err != nil || !maps.Equal(got, again)) {
			t.Fatalf("%q: %v, then %v %v", header, got, again, err)
		}
	})
}

// FuzzName: what a name becomes is harmless in a path and in a header,
// and browsers read it back.
func FuzzName(f *testing.F) {
	for _, s := range []string{"", "a.png", "../../x", `C:\x\y.exe`, "a\r\nb", "\u202egnp.exe", "\xff", "a\"b\\c%41", strings.Repeat("ä", 300) + ".png", "...", " . ", "con", "\u200b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, mediaType := range []string{"image/png", "text/plain", "", "x/y"} {
			s := saveAs(name, mediaType)
			if s == "" || !utf8.ValidString(s) || strings.ContainsAny(s, "/\\\x00\r\n\u202e\"") || s[0] == '.' || utf8.RuneCountInString(s) > maxName+5 {
				t.Fatalf("%q becomes %q", name, s)
			}
			d := disposition(s)
			kind, params, err := mime.ParseMediaType(d)
			if err != nil || kind != "attachment" || params["filename"] != s {
				t.Fatalf("%q becomes %s: %v %v", name, d, params, err)
			}
			if strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q is no header", d)
			}
		}
	})
}

// FuzzRange: what a range is read as lies within the content.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-1", "bytes=5-4", "bytes=9-9", "bytes=1-2,3-4", "bytes=", "x"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		off, n, ok, sound := parseRange(header, size)
		if ok && sound && (off < 0 || n <= 0 || off+n > size) {
			t.Fatalf("%q of %d: %d+%d", header, size, off, n)
		}
	})
}

// FuzzOrientation: the search for it meets anybody's bytes.
func FuzzOrientation(f *testing.F) {
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x20Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"))
	f.Add([]byte("\xff\xd8\xff\xe1\xff\xffExif\x00\x00II*\x00\xff\xff\xff\xff"))
	f.Add(bytes.Repeat([]byte{0xff, 0xd8}, 20))
	f.Fuzz(func(t *testing.T, head []byte) {
		if v := orientation(head); v < 1 || v > 8 {
			t.Fatalf("%d", v)
		}
	})
}
