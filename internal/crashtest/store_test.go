package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"satchel/sync/store"
)

// storeEnv names the file of the store that this process keeps for a test. A test
// can't keep one on a disk that it is itself: it would wait for itself.
const storeEnv = "SATCHEL_CRASHTEST_STORE"

// serveStore commits a row for each line that it reads, and answers with the line
// once the commit is made. It returns the exit code.
func serveStore(path string, in io.Reader, out io.Writer) int {
	b, err := store.OpenBolt(path, store.Options{InitialMmapSize: 16 << 20, Reserve: 16, MinFree: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := b.Update(func(w store.Writer) error { return w.Put(store.Records, lines.Bytes(), lines.Bytes()) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Fprintln(out, lines.Text())
	}
	if err := b.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
