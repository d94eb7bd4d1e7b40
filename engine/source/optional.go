package source

import (
	"math"
	"strconv"
)

// What is not needed to verify bytes refuses no torrent: a key that may be absent
// and has a value of another type counts as absent. These methods consume the value
// at the cursor, whatever it is; an error means that it is no bencode.

// optStr reads a string; nil is anything else.
func (c *cursor) optStr() ([]byte, error) {
	if c.kind() != 's' {
		return nil, c.skip()
	}
	return c.str()
}

// optInteger reads an integer; not ok is anything else.
func (c *cursor) optInteger() (n int64, ok bool, err error) {
	if c.kind() != 'i' {
		return 0, false, c.skip()
	}
	n, err = c.integer()
	return n, err == nil, err
}

// fileLength is optInteger for the length of a file among others. One that int64
// can't hold counts as 0, as libtorrent, and so a swarm, has it.
func (c *cursor) fileLength() (n int64, ok bool, err error) {
	start := c.off + 1
	n, ok, err = c.optInteger()
	if ok && (n == math.MaxInt64 || n == math.MinInt64) {
		if _, err := strconv.ParseInt(string(c.b[start:c.off-1]), 10, 64); err != nil {
			n = 0
		}
	}
	return n, ok, err
}

// optRaw reads a value of a kind as it stands in the input; nil is anything else.
func (c *cursor) optRaw(kind byte) ([]byte, error) {
	isKind := c.kind() == kind
	b, err := c.raw()
	if !isKind {
		return nil, err
	}
	return b, err
}

// flag reads a value that says yes unless it is the integer 0.
func (c *cursor) flag() (bool, error) {
	n, ok, err := c.optInteger()
	return !ok || n != 0, err
}
