package source

import (
	"math"
	"strconv"

	"github.com/weirfs/weir/engine/internal/bencode"
)

// A torrent is not refused for what verifying its bytes does not need: an optional key
// with a value of another type counts as missing. These functions consume the value at
// the cursor, whatever it is; an error means that it is not valid bencode.

// optStr reads a string, or returns nil.
func optStr(c *bencode.Cursor) ([]byte, error) {
	if c.Kind() != bencode.String {
		return nil, c.Skip()
	}
	return c.String()
}

// optInteger reads an integer; ok is false for anything else.
func optInteger(c *bencode.Cursor) (n int64, ok bool, err error) {
	if c.Kind() != bencode.Int {
		return 0, false, c.Skip()
	}
	n, err = c.Int()
	return n, err == nil, err
}

// fileLength is optInteger for the length of one of several files. One that int64 can't
// hold counts as 0, as in libtorrent, and so in most peers.
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

// optRaw returns a value of a kind as it is in the input, or nil.
func optRaw(c *bencode.Cursor, kind bencode.Kind) ([]byte, error) {
	isKind := c.Kind() == kind
	b, err := c.Raw()
	if !isKind {
		return nil, err
	}
	return b, err
}

// flag reads a value that means true unless it is the integer 0.
func flag(c *bencode.Cursor) (bool, error) {
	n, ok, err := optInteger(c)
	return !ok || n != 0, err
}

// rawCounted returns a value as it is in the input, and its number of elements if it is a
// list.
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
