// Package bencode reads the bencoding (BEP 3) of messages from outside: a cursor
// over bytes in memory. What it costs is bounded by what arrived, whatever that
// claims: nothing is copied or allocated, nesting and the digits of integers are
// limited, and passing over a value does not recurse.
//
// It takes what is harmless: keys in any order, leading zeros. What keys mean does
// not belong here.
package bencode

import (
	"math"
	"strconv"

	"github.com/weirfs/weir"
)

// Bounds on what honest programs send.
const (
	mostDepth  = 16 // lists and dictionaries within each other
	mostDigits = 20 // of an integer, its sign left out
)

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

// Cursor stands before a value. Each method consumes one value or returns an error
// that wraps weir.ErrInvalid.
type Cursor struct {
	b     []byte
	off   int
	depth int // of the lists and dictionaries that are being walked
}

// New returns a cursor at the beginning of b.
func New(b []byte) *Cursor { return &Cursor{b: b} }

// Rest returns what was not consumed.
func (c *Cursor) Rest() []byte { return c.b[c.off:] }

func (c *Cursor) fail(what string) error {
	return weir.Errorf(weir.ErrInvalid, "bencoding, byte %d: %s", c.off, what)
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

// number reads digits up to the byte end, at most mostDigits. A number that int64
// can't hold is math.MaxInt64.
func (c *Cursor) number(at int, end byte) (n int64, next int, err error) {
	i := at
	for ; i < len(c.b) && c.b[i] >= '0' && c.b[i] <= '9'; i++ {
		if i-at == mostDigits {
			return 0, 0, c.fail("a number of too many digits")
		}
		if d := int64(c.b[i] - '0'); n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	if i == at || i == len(c.b) || c.b[i] != end {
		return 0, 0, c.fail("not a number")
	}
	return n, i + 1, nil
}

// Int reads an integer. One beyond ±math.MaxInt64 comes back as that.
func (c *Cursor) Int() (int64, error) {
	if c.Kind() != Int {
		return 0, c.fail("not an integer")
	}
	at, sign := c.off+1, int64(1)
	if at < len(c.b) && c.b[at] == '-' {
		at, sign = at+1, -1
	}
	n, next, err := c.number(at, 'e')
	if err != nil {
		return 0, err
	}
	c.off = next
	return sign * n, nil
}

// String reads a string; the result is part of the input.
func (c *Cursor) String() ([]byte, error) {
	if c.Kind() != String {
		return nil, c.fail("not a string")
	}
	n, at, err := c.number(c.off, ':')
	if err != nil {
		return nil, err
	}
	if n > int64(len(c.b)-at) {
		return nil, c.fail("a string longer than what is there")
	}
	c.off = at + int(n)
	return c.b[at:c.off:c.off], nil
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
	if c.Kind() != kind {
		return c.fail("not a list or dictionary")
	}
	if c.depth == mostDepth {
		return c.fail("nested too deeply")
	}
	c.depth++
	c.off++
	for c.Kind() != End {
		before := c.off
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

// Skip passes over one value of any type.
func (c *Cursor) Skip() error {
	var dicts [mostDepth]bool // of the levels that are open: is it a dictionary?
	open := c.depth
	for {
		kind := c.Kind()
		switch {
		case kind == End && open > c.depth:
			c.off++
			open--
		case open > c.depth && dicts[open-1] && kind != String:
			return c.fail("a key that is no string")
		default:
			if open > c.depth && dicts[open-1] {
				if _, err := c.String(); err != nil {
					return err
				}
				kind = c.Kind()
			}
			var err error
			switch kind {
			case String:
				_, err = c.String()
			case Int:
				_, err = c.Int()
			case Dict, List:
				if open == mostDepth {
					return c.fail("nested too deeply")
				}
				dicts[open] = kind == Dict
				open++
				c.off++
			default:
				err = c.fail("not a value")
			}
			if err != nil {
				return err
			}
		}
		if open == c.depth {
			return nil
		}
	}
}

// AppendString appends the bencoded string s to b.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
