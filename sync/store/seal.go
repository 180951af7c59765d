package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// A backup ends in a seal: sealMagic, the length of what comes before the seal
// (64 bits, big-endian), and the SHA-256 of that. bbolt has sums over its head
// pages alone, so without a seal a bit that has turned over in a record would be
// taken for what somebody wrote.
const (
	sealMagic  = "satchel-backup-1"
	sealLength = len(sealMagic) + 8 + sha256.Size
)

// seal returns the seal of bytes with a length and a sum.
func seal(length int64, sum []byte) []byte {
	b := append(make([]byte, 0, sealLength), sealMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(length))
	return append(b, sum...)
}

// Unseal reads the whole of a copy of what [Bolt.Backup] wrote, compares it with
// its seal and takes that off. What has none, a store's own file or a backup of
// an earlier version, is left as it is, and sealed false. The error is
// [ErrCorrupt] where the file is cut short or is not what was written.
func Unseal(path string) (sealed bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	m, err := latestMeta(f)
	if err != nil {
		return false, err
	}
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	length := int64(m.pages) * pageSize
	switch size := st.Size(); {
	case size == length+int64(sealLength):
	case size%pageSize == 0: // as long as its pages, or grown ahead
		return false, nil
	default:
		return false, fmt.Errorf("%w: %d bytes are not the length of a backup of %d pages", ErrCorrupt, size, m.pages)
	}
	h := sha256.New()
	if _, err := io.CopyN(h, f, length); err != nil {
		return false, err
	}
	have := make([]byte, sealLength)
	if _, err := io.ReadFull(f, have); err != nil {
		return false, err
	}
	if !bytes.Equal(have, seal(length, h.Sum(nil))) {
		return true, fmt.Errorf("%w: the backup is not what was written, its sum is wrong", ErrCorrupt)
	}
	return true, errors.Join(f.Truncate(length), f.Sync())
}
