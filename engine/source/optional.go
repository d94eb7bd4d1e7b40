package source

import (
	"math"
	"strconv"

	"github.com/weirfs/weir/engine/internal/bencode"
)

// What is not needed to verify bytes refuses no torrent: a key that may be absent
// and has a value of another type counts as absent. These functions consume the value
// at the cursor, whatever it is; an error means that it is no bencode.

// optStr reads a string; nil is anything else.
func optStr(c *bencode.Cursor) ([]byte, error) {
	if c.Kind() != bencode.String {
		return nil, c.Skip()
	}
	return c.String()
}

// optInteger reads an integer; not ok is anything else.
func optInteger(c *bencode.Cursor) (n int64, ok bool, err error) {
	if c.Kind() != bencode.Int {
		return 0, false, c.Skip()
	}
	n, err = c.Int()
	return n, err == nil, err
}

// fileLength is optInteger for the length of a file among others. One that int64
// can't hold counts as 0, as libtorrent, and so a swarm, has it.
func fileLength(c *bencode.Cursor) (n int64, ok bool, err error) {
	rest := c.Rest()
	n, ok, err = optInteger(c)
	if ok && (n == math.MaxInt64 || n == -math.MaxInt64) {
		text := rest[len("i") : len(rest)-len(c.Rest())-len("e")]
		if _, err := strconv.ParseInt(string(text), 10, 64); err != nil {
			n = 0
		}
	}
	return n, ok, err
}

// optRaw reads a value of a kind as it stands in the input; nil is anything else.
func optRaw(c *bencode.Cursor, kind bencode.Kind) ([]byte, error) {
	isKind := c.Kind() == kind
	b, err := c.Raw()
	if !isKind {
		return nil, err
	}
	return b, err
}

// flag reads a value that says yes unless it is the integer 0.
func flag(c *bencode.Cursor) (bool, error) {
	n, ok, err := optInteger(c)
	return !ok || n != 0, err
}

// rawCounted reads a value as it stands in the input, and how many elements it has if it
// is a list.
func rawCounted(c *bencode.Cursor) (b []byte, n int, err error) {
	if c.Kind() != bencode.List {
		b, err = c.Raw()
		return b, 0, err
	}
	rest := c.Rest()
	err = c.List(func() error {
		n++
		return c.Skip()
	})
	return rest[: len(rest)-len(c.Rest()) : len(rest)-len(c.Rest())], n, err
}
