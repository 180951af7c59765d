package crashtest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// disk is a file system in memory that forgets what was not synced when its
// power is cut, as strictly as POSIX allows: syncing a file keeps its bytes and
// its length, and not its name; syncing a folder keeps the names in it. Of what
// was not synced any part may have reached the disk all the same: single pages
// of files, and changes of names in the order in which they were made.
type disk struct {
	dir    string // where it is mounted
	root   *node
	server *fuse.Server

	mu      sync.Mutex // guards all nodes and what follows
	pending []renaming
	syncs   int
	// failSync, where not nil, is asked at each sync of a file with its name;
	// an error is answered. kept says whether the bytes reach the disk then.
	failSync func(name string) (errno syscall.Errno, kept bool)
}

// renaming is a change of names, whole or not at all.
type renaming struct{ parts []naming }

// naming gives a name in a folder to a node, or to none.
type naming struct {
	dir  *node
	name string
	to   *node
}

// node is a file or a folder.
type node struct {
	fs.Inode
	disk  *disk
	name  string // the first one, for failSync
	isDir bool
	mode  uint32
	times [2]time.Time

	// Of a file: what it has, what a power cut leaves for certain, and which
	// pages were written since they were the same.
	data, durable []byte
	dirty         map[int64]bool
	// Of a folder: the names that a power cut leaves for certain.
	names map[string]*node
}

var (
	_ fs.NodeStatfser  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
)

// newDisk mounts a disk that has, durably, what is in a folder; "" for nothing.
func newDisk(t *testing.T, from string) *disk {
	t.Helper()
	d := &disk{dir: t.TempDir()}
	d.root = d.node("/", true, 0o700)
	zero := time.Duration(0)
	server, err := fs.Mount(d.dir, d.root, &fs.Options{
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &zero,
		MountOptions: fuse.MountOptions{DirectMountStrict: os.Geteuid() == 0, DisableXAttrs: true, MaxWrite: 1 << 20, FsName: "satchel-crashtest"},
	})
	if err != nil {
		t.Skipf("no file system of its own can be mounted here (/dev/fuse and the right to mount are needed): %v", err)
	}
	d.server = server
	t.Cleanup(d.unmount)
	keepToSelf(t)
	if from != "" {
		if err := d.root.load(from); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// keepToSelf keeps the file systems' ends from the programs that are started: one
// that held the end of a disk it has files on could never be got rid of.
func keepToSelf(t *testing.T) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to == "/dev/fuse" {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				unix.CloseOnExec(fd)
			}
		}
	}
}

func (d *disk) unmount() {
	if d.server == nil {
		return
	}
	if err := d.server.Unmount(); err != nil {
		_ = unix.Unmount(d.dir, unix.MNT_DETACH) // somebody who is gone soon still looks
	}
	d.server.Wait()
	d.server = nil
}

// failing has syncs fail from now on.
func (d *disk) failing(f func(name string) (errno syscall.Errno, kept bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = f
}

func (d *disk) node(name string, isDir bool, mode uint32) *node {
	n := &node{disk: d, name: name, isDir: isDir, mode: mode & 0o777, dirty: map[int64]bool{}}
	n.times[0], n.times[1] = time.Now(), time.Now()
	if isDir {
		n.names = map[string]*node{}
	}
	return n
}

// load fills a folder with what is in another, durably.
func (n *node) load(from string) error {
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range list {
		path := filepath.Join(from, e.Name())
		c := n.disk.node(e.Name(), e.IsDir(), 0o700)
		if !e.IsDir() {
			c.mode = 0o600
			if c.data, err = os.ReadFile(path); err != nil {
				return err
			}
			c.durable = bytes.Clone(c.data)
		}
		n.AddChild(e.Name(), n.child(c), true)
		n.names[e.Name()] = c
		if e.IsDir() {
			if err := c.load(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) child(c *node) *fs.Inode {
	mode := uint32(fuse.S_IFREG)
	if c.isDir {
		mode = fuse.S_IFDIR
	}
	return n.NewPersistentInode(context.Background(), c, fs.StableAttr{Mode: mode})
}

// cut cuts the power and writes what the disk has then into a folder. rng
// decides what of the rest has reached it; with nil nothing has.
func (d *disk) cut(t *testing.T, rng *rand.Rand) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if rng != nil {
		for _, r := range d.pending[:rng.IntN(len(d.pending)+1)] {
			r.apply()
		}
	}
	to := t.TempDir()
	if err := d.root.remains(to, rng); err != nil {
		t.Fatal(err)
	}
	return to
}

// remains writes what is left of a folder.
func (n *node) remains(to string, rng *rand.Rand) error {
	for name, c := range n.names {
		path := filepath.Join(to, name)
		if c.isDir {
			if err := errors.Join(os.Mkdir(path, 0o700), c.remains(path, rng)); err != nil {
				return err
			}
			continue
		}
		b := bytes.Clone(c.durable)
		for page := range c.dirty {
			if rng == nil || rng.IntN(2) == 0 {
				continue
			}
			at, end := page*pageBytes, min((page+1)*pageBytes, int64(len(c.data)))
			if at >= end {
				continue // it was cut off
			}
			if int64(len(b)) < end {
				b = append(b, make([]byte, end-int64(len(b)))...)
			}
			copy(b[at:end], c.data[at:end])
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// apply makes a change of names durable.
func (r renaming) apply() {
	for _, p := range r.parts {
		if p.to == nil {
			delete(p.dir.names, p.name)
		} else {
			p.dir.names[p.name] = p.to
		}
	}
}

// rename notes a change of names.
func (d *disk) rename(parts ...naming) { d.pending = append(d.pending, renaming{parts}) }

// settle makes the changes of names in a folder durable, and those before them
// of the same names elsewhere, without which they would make no sense.
func (d *disk) settle(dir *node) {
	type place struct {
		dir  *node
		name string
	}
	want := map[place]bool{}
	pick := make([]bool, len(d.pending))
	for i := len(d.pending) - 1; i >= 0; i-- {
		for _, p := range d.pending[i].parts {
			pick[i] = pick[i] || p.dir == dir || want[place{p.dir, p.name}]
		}
		if pick[i] {
			for _, p := range d.pending[i].parts {
				want[place{p.dir, p.name}] = true
			}
		}
	}
	var rest []renaming
	for i, r := range d.pending {
		if pick[i] {
			r.apply()
		} else {
			rest = append(rest, r)
		}
	}
	d.pending = rest
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = pageBytes, pageBytes, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<24, 1<<24, 1<<24
	return 0
}

func (n *node) attr(out *fuse.Attr) {
	out.Mode, out.Nlink = n.mode|fuse.S_IFREG, 1
	if n.isDir {
		out.Mode = n.mode | fuse.S_IFDIR
	}
	out.Size, out.Blksize, out.Blocks = uint64(len(n.data)), pageBytes, uint64(len(n.data)+511)/512
	out.SetTimes(&n.times[0], &n.times[1], &n.times[1])
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.attr(&out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		n.mode = mode & 0o777
	}
	if at, ok := in.GetATime(); ok {
		n.times[0] = at
	}
	if mt, ok := in.GetMTime(); ok {
		n.times[1] = mt
	}
	if size, ok := in.GetSize(); ok {
		n.resize(int64(size))
	}
	n.attr(&out.Attr)
	return 0
}

// resize changes a file's length; what is cut off is not there any more.
func (n *node) resize(size int64) {
	if size <= int64(len(n.data)) {
		clear(n.data[size:])
		n.data = n.data[:size]
	} else if size <= int64(cap(n.data)) {
		n.data = n.data[:size]
	} else {
		n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
	}
	if size > 0 {
		n.dirty[(size-1)/pageBytes] = true
	}
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		n.disk.mu.Lock()
		defer n.disk.mu.Unlock()
		n.resize(0)
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if off >= int64(len(n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.data[off:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	end := off + int64(len(b))
	if end > int64(len(n.data)) {
		n.resize(end)
	}
	copy(n.data[off:end], b)
	for page := off / pageBytes; page*pageBytes < end; page++ {
		n.dirty[page] = true
	}
	n.times[1] = time.Now()
	return uint32(len(b)), 0
}

func (n *node) Fsync(_ context.Context, _ fs.FileHandle, _ uint32) syscall.Errno {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncs++
	if n.isDir {
		d.settle(n)
		return 0
	}
	errno := syscall.Errno(0)
	if d.failSync != nil {
		var kept bool
		if errno, kept = d.failSync(n.name); errno != 0 && !kept {
			// The pages count as written from now on, and never will be: that is
			// what a failed sync does on Linux.
			clear(n.dirty)
			return errno
		}
	}
	// Only what was written is copied; files are long and mostly holes.
	if len(n.durable) > len(n.data) {
		n.durable = n.durable[:len(n.data)]
	} else {
		n.durable = append(n.durable, make([]byte, len(n.data)-len(n.durable))...)
	}
	for page := range n.dirty {
		at, end := page*pageBytes, min((page+1)*pageBytes, int64(len(n.data)))
		if at < end {
			copy(n.durable[at:end], n.data[at:end])
		}
	}
	clear(n.dirty)
	return errno
}

func (n *node) Mkdir(_ context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.node(name, true, mode)
	d.rename(naming{n, name, c})
	c.attr(&out.Attr)
	return n.child(c), 0
}

func (n *node) Create(_ context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.node(name, false, mode)
	d.rename(naming{n, name, c})
	c.attr(&out.Attr)
	return n.child(c), nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	c := target.(*node)
	d.rename(naming{n, name, c})
	c.attr(&out.Attr)
	return &c.Inode, 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.rename(naming{n, name, nil})
	return 0
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	if c := n.GetChild(name); c != nil && len(c.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(context.Background(), name)
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	c := n.GetChild(name)
	if c == nil {
		return syscall.ENOENT
	}
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rename(naming{n, name, nil}, naming{parent.(*node), to, c.Operations().(*node)})
	return 0
}

// TestDisk: the disk forgets what it should, and nothing else; otherwise what
// is proven on it means nothing.
func TestDisk(t *testing.T) {
	d := newDisk(t, "")
	at := func(name string) string { return filepath.Join(d.dir, name) }
	write := func(name, content string, sync bool) {
		t.Helper()
		f, err := os.OpenFile(at(name), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(content)
		if sync {
			err = errors.Join(err, f.Sync())
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	syncDir := func(name string) {
		t.Helper()
		f, err := os.Open(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func(want ...string) {
		t.Helper()
		var have []string
		root := d.cut(t, nil)
		must(filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			line := strings.TrimPrefix(path, root+"/")
			if !e.IsDir() {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				line += "=" + string(b)
			}
			have = append(have, line)
			return nil
		}))
		if !slices.Equal(have, want) {
			t.Fatalf("left %q, want %q", have, want)
		}
	}
	write("a", "one", true)
	left() // its name was not synced
	syncDir(".")
	left("a=one")
	write("a", "two", false)
	left("a=one")
	write("a", "two", true)
	left("a=two")
	must(os.Rename(at("a"), at("b")))
	left("a=two")
	syncDir(".")
	left("b=two")
	must(os.Mkdir(at("dir"), 0o700))
	write("dir/c", "three", true)
	syncDir("dir")
	left("b=two") // nothing leads to it
	syncDir(".")
	left("b=two", "dir", "dir/c=three")
	must(os.Link(at("dir/c"), at("dir/d")))
	must(os.Remove(at("dir/c")))
	left("b=two", "dir", "dir/c=three")
	syncDir("dir")
	left("b=two", "dir", "dir/d=three")
	must(os.Rename(at("dir/d"), at("e")))
	syncDir(".") // moved as a whole
	left("b=two", "dir", "e=three")
	must(os.Remove(at("b")))
	must(os.Truncate(at("e"), 2))
	left("b=two", "dir", "e=three")
	write("e", "TH", true)
	left("b=two", "dir", "e=TH")
	// A sync that fails may lose what it was for.
	d.failing(func(string) (syscall.Errno, bool) { return syscall.EIO, false })
	f, err := os.OpenFile(at("e"), os.O_RDWR, 0)
	must(err)
	_, err = f.WriteString("xx")
	must(err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	d.failing(nil)
	must(errors.Join(f.Sync(), f.Close()))
	left("b=two", "dir", "e=TH")
}
