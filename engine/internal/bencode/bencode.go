// Package bencode reads the bencoding (BEP 3) of what comes from outside, metainfo and
// messages: a cursor over bytes in memory. What it costs is bounded by what arrived,
// whatever that claims: nothing is copied or allocated, nesting is limited, and passing
// over a value does not recurse.
//
// It takes what is harmless: keys in any order, leading zeros. What keys mean does not
// belong here. A decoder by reflection takes several times as long for a torrent of a
// million files, and hides which keys were given twice.
package bencode

import (
	"errors"
	"math"
	"strconv"

	"github.com/weirfs/weir"
)

// bounds are on what honest programs send.
type bounds struct {
	depth  int // of lists and dictionaries within each other
	digits int // of an integer, its sign left out
}

var (
	inMessage = bounds{depth: 16, digits: 20}
	// File trees (BEP 52) have a level for each folder; all else in metainfo nests six
	// levels. The info hash covers an integer of any length.
	inMetainfo = bounds{depth: maxDepth, digits: math.MaxInt}
)

// maxDepth is the largest of all bounds.
const maxDepth = 512

// Kind is the type of a value.
type Kind byte

// The kinds. End closes a list or dictionary; None stands for the end of the input
// and for what is no bencoding.
const (
	None   Kind = 0
	Dict   Kind = 'd'
	List   Kind = 'l'
	Int    Kind = 'i'
	String Kind = 's'
	End    Kind = 'e'
)

// kindNames serve error messages.
var kindNames = map[Kind]string{
	None: "no bencode", Dict: "a dictionary", List: "a list", Int: "an integer", String: "a string", End: "an end mark",
}

// ErrShort is wrapped by errors about input that stops before its outermost value does,
// as a file does that was only partly downloaded.
var ErrShort = errors.New("ends in the middle")

// Cursor stands before a value. Each method consumes one value or returns an error that
// wraps weir.ErrInvalid, and weir.ErrHostile for too deep nesting. A copy is another cursor
// at the same place.
type Cursor struct {
	b     []byte
	off   int
	depth int // of the lists and dictionaries that are being walked
	most  bounds
}

// New returns a cursor at the beginning of a message.
func New(b []byte) *Cursor { return &Cursor{b: b, most: inMessage} }

// NewMetainfo returns a cursor at the beginning of metainfo, or of a value in it.
func NewMetainfo(b []byte) *Cursor { return &Cursor{b: b, most: inMetainfo} }

// Rest returns what was not consumed.
func (c *Cursor) Rest() []byte { return c.b[c.off:] }

func (c *Cursor) fail(what string) error {
	return weir.Errorf(weir.ErrInvalid, "byte %d: %s", c.off, what)
}

func (c *Cursor) short() error {
	return weir.Errorf(weir.ErrInvalid, "byte %d: %w", c.off, ErrShort)
}

func (c *Cursor) tooDeep() error {
	return weir.Errorf(weir.ErrInvalid, "%w", weir.Errorf(weir.ErrHostile, "byte %d: more than %d levels deep", c.off, c.most.depth))
}

// Kind returns the type of the next value without consuming it.
func (c *Cursor) Kind() Kind {
	if c.off >= len(c.b) {
		return None
	}
	switch k := c.b[c.off]; {
	case k == 'd', k == 'l', k == 'i', k == 'e':
		return Kind(k)
	case k >= '0' && k <= '9':
		return String
	}
	return None
}

// Expect returns an error if the next value is of another kind.
func (c *Cursor) Expect(kind Kind) error {
	got := c.Kind()
	switch {
	case got == kind:
		return nil
	case c.off >= len(c.b):
		return c.short()
	}
	return c.fail("want " + kindNames[kind] + ", found " + kindNames[got])
}

// number reads digits up to the next other byte, whose index it returns. A number that
// int64 can't hold is math.MaxInt64.
func (c *Cursor) number(at int) (n int64, end int) {
	for ; at < len(c.b) && c.b[at] >= '0' && c.b[at] <= '9'; at++ {
		switch d := int64(c.b[at] - '0'); {
		case n < math.MaxInt64/10:
			n = n*10 + d
		case n > math.MaxInt64/10 || d > math.MaxInt64%10:
			n = math.MaxInt64
		default:
			n = n*10 + d
		}
	}
	return n, at
}

// Int reads an integer. One beyond ±math.MaxInt64 comes back as that.
func (c *Cursor) Int() (int64, error) {
	if err := c.Expect(Int); err != nil {
		return 0, err
	}
	at, sign := c.off+1, int64(1)
	if at < len(c.b) && c.b[at] == '-' {
		at, sign = at+1, -1
	}
	n, end := c.number(at)
	switch {
	case end == len(c.b):
		return 0, c.short()
	case c.b[end] != 'e':
		return 0, c.fail("integer with something else than digits")
	case end == at:
		return 0, c.fail("integer without digits")
	case end-at > c.most.digits:
		return 0, c.fail("integer of too many digits")
	}
	c.off = end + 1
	return sign * n, nil
}

// String reads a string; the result is part of the input.
func (c *Cursor) String() ([]byte, error) {
	if err := c.Expect(String); err != nil {
		return nil, err
	}
	n, end := c.number(c.off)
	at := end + 1
	switch {
	case n > math.MaxInt32:
		return nil, c.fail("string of more than 2 GiB")
	case end == len(c.b):
		return nil, c.short()
	case c.b[end] != ':':
		return nil, c.fail("string length without a colon")
	case n > int64(len(c.b)-at):
		return nil, c.short()
	}
	c.off = at + int(n)
	return c.b[at:c.off:c.off], nil
}

// Raw passes over one value of any type and returns its bytes, which are part of the
// input.
func (c *Cursor) Raw() ([]byte, error) {
	start := c.off
	if err := c.Skip(); err != nil {
		return nil, err
	}
	return c.b[start:c.off:c.off], nil
}

// List calls each with the cursor before every element; each must consume it.
func (c *Cursor) List(each func() error) error { return c.walk(List, each) }

// Dict calls each for every key with the cursor before its value; each must consume
// it.
func (c *Cursor) Dict(each func(key []byte) error) error {
	return c.walk(Dict, func() error {
		key, err := c.String()
		if err != nil {
			return err
		}
		return each(key)
	})
}

// MaybeInt, MaybeString, MaybeList and MaybeDict pass over a value of another type as if
// its key were missing.

// MaybeInt reads an integer into to.
func (c *Cursor) MaybeInt(to *int64) (err error) {
	if c.Kind() != Int {
		return c.Skip()
	}
	*to, err = c.Int()
	return err
}

// MaybeString reads a string into to.
func (c *Cursor) MaybeString(to *[]byte) (err error) {
	if c.Kind() != String {
		return c.Skip()
	}
	*to, err = c.String()
	return err
}

// MaybeList is List, if there is one.
func (c *Cursor) MaybeList(each func() error) error {
	if c.Kind() != List {
		return c.Skip()
	}
	return c.List(each)
}

// MaybeDict is Dict, if there is one.
func (c *Cursor) MaybeDict(each func(key []byte) error) error {
	if c.Kind() != Dict {
		return c.Skip()
	}
	return c.Dict(each)
}

func (c *Cursor) walk(kind Kind, each func() error) error {
	if err := c.Expect(kind); err != nil {
		return err
	}
	if c.depth == c.most.depth {
		return c.tooDeep()
	}
	c.depth++
	c.off++
	for c.Kind() != End {
		before := c.off
		if before >= len(c.b) {
			return c.short()
		}
		if err := each(); err != nil {
			return err
		}
		if c.off == before {
			return c.fail("an element that nobody reads")
		}
	}
	c.off++
	c.depth--
	return nil
}

// levels says of each level whether it is a dictionary.
type levels [maxDepth / 64]uint64

func (l *levels) set(level int, dict bool) {
	l[level/64] &^= 1 << (level % 64)
	if dict {
		l[level/64] |= 1 << (level % 64)
	}
}

func (l *levels) dict(level int) bool { return l[level/64]>>(level%64)&1 == 1 }

// Skip passes over one value of any type.
func (c *Cursor) Skip() error {
	var open levels
	depth := c.depth
	for {
		kind := c.Kind()
		if depth > c.depth {
			if kind == End {
				c.off++
				if depth--; depth == c.depth {
					return nil
				}
				continue
			}
			if open.dict(depth - 1) {
				if _, err := c.String(); err != nil {
					return err
				}
				kind = c.Kind()
			}
		}
		var err error
		switch kind {
		case String:
			_, err = c.String()
		case Int:
			_, err = c.Int()
		case Dict, List:
			if depth == c.most.depth {
				return c.tooDeep()
			}
			open.set(depth, kind == Dict)
			depth++
			c.off++
		default:
			if c.off >= len(c.b) {
				return c.short()
			}
			return c.fail("want a value, found " + kindNames[kind])
		}
		if err != nil || depth == c.depth {
			return err
		}
	}
}

// AppendString appends the bencoded string s to b.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
