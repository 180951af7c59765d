package files

import (
	"encoding/base64"
	"strings"
	"testing"

	"satchel/internal/fault"
)

// FuzzChecksum: a header of a checksum is one of a known algorithm with a hash
// of its length, or refused by name.
func FuzzChecksum(f *testing.F) {
	f.Add("")
	f.Add("sha1 " + base64.StdEncoding.EncodeToString(make([]byte, 20)))
	f.Add("sha256 " + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	f.Add("SHA1 x")
	f.Add("sha1  ")
	f.Add("md5 1B2M2Y8AsgTpgAmY7PhCfg==")
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseChecksum(header)
		if err != nil {
			if e := fault.Of(err); e.Code != fault.BadParameter || e.Field != "Upload-Checksum" {
				t.Fatal(err)
			}
			return
		}
		if (c == nil) != (header == "") {
			t.Fatalf("%q is %v", header, c)
		}
		if c == nil {
			return
		}
		name, _, _ := strings.Cut(header, " ")
		if len(c.want) != c.hash.Size() || !strings.Contains(","+checksumAlgorithms+",", ","+name+",") || c.holds() {
			t.Fatalf("%q: %d bytes for %d", header, len(c.want), c.hash.Size())
		}
		c.want = string(c.hash.Sum(nil))
		if !c.holds() {
			t.Fatal("the right hash does not hold")
		}
	})
}

// FuzzWhole: lengths and offsets are plain digits within what a file can have.
func FuzzWhole(f *testing.F) {
	for _, s := range []string{"0", "10", "-1", "+1", "1e3", "00", "9223372036854775807", "9223372036854775808", "", " 1", "1,1", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := whole("Upload-Offset", s)
		if err != nil {
			if e := fault.Of(err); e.Code != fault.BadParameter || e.Field != "Upload-Offset" {
				t.Fatal(err)
			}
			return
		}
		if n < 0 || s == "" || strings.Trim(s, "0123456789") != "" {
			t.Fatalf("%q is %d", s, n)
		}
	})
}
