// Package clamd has files judged by ClamAV's daemon. It speaks the one command
// that needs no file system in common: INSTREAM, over a Unix or TCP socket. The
// connection is not encrypted and its other end is believed, so it belongs on
// this machine or in a network of its own. Only cmd/satchel and tests import it.
package clamd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"satchel/server/files"
)

// Config says where the daemon is. Address is required.
type Config struct {
	// Address is unix:/run/clamav/clamd.ctl or tcp://host:3310.
	Address string
	// Timeout bounds one file's judgement; 2 minutes if zero.
	Timeout time.Duration
	// AtOnce is how many files are judged at once, 4 if zero; the daemon's
	// MaxThreads must not be less.
	AtOnce int
}

const (
	// connecting bounds the wait for a connection.
	connecting = 5 * time.Second
	// chunk is how many bytes are sent under one length.
	chunk = 64 << 10
	// maxReply bounds the daemon's answer, in bytes.
	maxReply = 4 << 10
	// maxSignature bounds what is taken of a signature's name, in characters.
	maxSignature = 80
)

// Client has files judged. It is safe for use by several goroutines.
type Client struct {
	network, address string
	timeout          time.Duration
	slots            chan struct{}
}

// New returns a client. It connects to nobody: a daemon that is not there shows
// at the first file.
func New(cfg Config) (*Client, error) {
	c := &Client{timeout: cmp.Or(cfg.Timeout, 2*time.Minute), slots: make(chan struct{}, cmp.Or(cfg.AtOnce, 4))}
	if path, ok := strings.CutPrefix(cfg.Address, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("clamd: %q: a socket is named by its whole path", cfg.Address)
		}
		c.network, c.address = "unix", path
		return c, nil
	}
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Scheme != "tcp" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.User != nil {
		return nil, fmt.Errorf("clamd: %q is neither unix:/path nor tcp://host:port", cfg.Address)
	}
	c.network, c.address = "tcp", u.Host
	return c, nil
}

// Scan implements files.Scanner.
func (c *Client) Scan(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return fmt.Errorf("clamd: no place became free: %w", ctx.Err())
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("clamd: %w", err)
	}
	defer f.Close()
	dial := net.Dialer{Timeout: connecting}
	conn, err := dial.DialContext(ctx, c.network, c.address)
	if err != nil {
		return fmt.Errorf("clamd: %w", err)
	}
	defer conn.Close() //nolint:errcheck // what counts was read
	// Closing is the one way out of a read or write that waits for the daemon.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// A daemon that has seen enough answers and closes, whatever is still being
	// sent: its answer is read at the same time, before the connection is reset.
	type replied struct {
		text string
		err  error
	}
	read := make(chan replied, 1)
	go func() {
		text, err := answer(conn)
		read <- replied{text, err}
	}()
	unsent := send(conn, f)
	if unsent != nil {
		// It may have answered; but it must not be waited for long.
		_ = conn.SetReadDeadline(time.Now().Add(connecting))
	}
	reply := <-read
	if reply.err != nil {
		return fmt.Errorf("clamd: %w", errors.Join(ctx.Err(), unsent, reply.err))
	}
	err = verdict(reply.text)
	if unsent != nil && err == nil {
		return fmt.Errorf("clamd: judged before it was all there: %w", unsent)
	}
	return err
}

// errFile marks failures of the file rather than of the connection.
var errFile = errors.New("the file can't be read")

// send streams a file: chunks, each behind its length in four bytes, the most
// significant first, and at last a length of 0.
func send(conn net.Conn, f io.Reader) error {
	if _, err := io.WriteString(conn, "zINSTREAM\x00"); err != nil {
		return err
	}
	buf := make([]byte, 4+chunk)
	for {
		n, err := io.ReadFull(f, buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, werr := conn.Write(buf[:4+n]); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			_, err = conn.Write(make([]byte, 4))
			return err
		case err != nil:
			// Without its end the daemon judges nothing.
			return errors.Join(errFile, err, conn.Close())
		}
	}
}

// answer reads a reply up to the zero byte behind it.
func answer(conn net.Conn) (string, error) {
	var b bytes.Buffer
	_, err := io.CopyN(&b, conn, maxReply)
	reply, _, whole := bytes.Cut(b.Bytes(), []byte{0})
	switch {
	case whole:
		return string(reply), nil
	case err == nil:
		return "", errors.New("the reply has no end")
	case errors.Is(err, io.EOF):
		return "", errors.New("the reply broke off")
	}
	return "", err
}

// verdict reads a reply: "stream: OK", "stream: NAME FOUND" or words and ERROR.
// What is none of them is no verdict.
func verdict(reply string) error {
	reply = strings.TrimSpace(reply)
	switch said, ok := strings.CutPrefix(reply, "stream: "); {
	case ok && said == "OK":
		return nil
	case ok && strings.HasSuffix(said, " FOUND"):
		return fmt.Errorf("clamd: %w: %s", files.ErrHarmful, plain(strings.TrimSuffix(said, " FOUND")))
	case strings.HasPrefix(reply, "INSTREAM size limit exceeded"):
		return fmt.Errorf("clamd: %w: it exceeds the daemon's StreamMaxLength", files.ErrUnscannable)
	}
	return fmt.Errorf("clamd: no verdict: %s", plain(reply))
}

// plain is a text of the daemon's as it may stand in a log.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= ' ' && r < 0x7f {
			return r
		}
		return '?'
	}, s)
	return s[:min(len(s), maxSignature)]
}
