package oplog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"satchel/internal/ident"
)

// TestBytes pins the format: these bytes stand in files.
func TestBytes(t *testing.T) {
	e := Entry{Epoch: 1, Pos: 300, Time: -2, Version: 7, Proposer: "node", Number: 129, Commands: [][]byte{[]byte("ab"), {}}}
	const want = "01" + "01" + "ac02" + "03" + "07" + "04" + "6e6f6465" + "8101" + "02" + "026162" + "00"
	b := Encode(e)
	if got := hex.EncodeToString(b[:len(b)-4]); got != want {
		t.Errorf("bytes %s, want %s", got, want)
	}
	if got, want := binary.LittleEndian.Uint32(b[len(b)-4:]), crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)); got != want {
		t.Errorf("sum %x, want %x", got, want)
	}
}

func TestCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Epoch:    rapid.Uint64().Draw(t, "epoch"),
			Pos:      ident.Position(rapid.Uint64().Draw(t, "pos")),
			Time:     ident.Millis(rapid.Int64().Draw(t, "time")),
			Version:  rapid.Uint64().Draw(t, "version"),
			Proposer: rapid.StringN(0, 20, 64).Draw(t, "proposer"),
			Number:   rapid.Uint64().Draw(t, "number"),
			Commands: rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 0, 5).Draw(t, "commands"),
		}
		b := Encode(e)
		if n := Size(Draft{Time: e.Time, Version: e.Version, Proposer: e.Proposer, Number: e.Number, Commands: e.Commands}); len(b) > n || len(b) < n-20 {
			t.Fatalf("%d bytes, size says %d", len(b), n)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		i := rapid.IntRange(0, len(b)-1).Draw(t, "flip")
		bad := bytes.Clone(b)
		bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Decode(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := Decode(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		clear(b)
		if d := cmp.Diff(e, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("the entry changed with its bytes: %s", d)
		}
	})
}

// summed gives bytes a right checksum, so that what comes after it is tested.
func summed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli))
}

func TestDecodeRefuses(t *testing.T) {
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	join := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"only a sum":         summed(nil),
		"version":            summed([]byte{2, 1, 1, 0, 0, 0, 0, 0}),
		"cut short":          summed([]byte{1, 1, 1, 0, 0, 0, 0}),
		"left over":          summed([]byte{1, 1, 1, 0, 0, 0, 0, 0, 0}),
		"long form":          summed([]byte{1, 0x81, 0, 1, 0, 0, 0, 0, 0}),
		"many commands":      summed(join([]byte{1, 1, 1, 0, 0, 0, 0}, huge)),
		"long command":       summed(join([]byte{1, 1, 1, 0, 0, 0, 0, 1}, huge)),
		"long proposer":      summed(join([]byte{1, 1, 1, 0, 0}, huge)),
		"longer than may be": summed(make([]byte, MaxEntryBytes)),
	} {
		if _, err := Decode(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(summed([]byte{1, 1, 1, 0, 0, 0, 0, 0})); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 1, 1, 0, 0, 0, 0, 0})
	b := Encode(Entry{Epoch: 3, Pos: 9, Time: 1 << 40, Version: 2, Proposer: "node-1", Number: 8, Commands: [][]byte{[]byte("abc"), nil}})
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Decode(b)
		e, err := Decode(summed(b))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got := Encode(e); !bytes.Equal(got, summed(b)) {
			t.Fatalf("%x became %x", summed(b), got)
		}
	})
}
