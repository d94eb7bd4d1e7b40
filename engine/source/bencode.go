package source

import (
	"bytes"
	"errors"
	"math"

	"github.com/weirfs/weir"
)

// maxDepth bounds how deeply values that we skip may nest. Metainfo nests six
// levels; only a v2 file tree goes deeper, a level for each folder.
const maxDepth = 512

// errShort marks input that stops before its outermost value does, which is
// what a file that was only partly downloaded looks like.
var errShort = errors.New("ends in the middle")

// cursor walks over bencode (BEP 3) in memory, without copying and without
// building values that nobody asked for. anacrolix's decoder is not used for
// this: it fills structs by reflection, which takes several times as long and
// as much memory for a torrent of a million files, and it hides which keys were
// given twice. Tests compare the two.
//
// The cursor takes what is harmless because the info hash covers the raw bytes:
// unsorted keys and leading zeros. Each method consumes one value or returns an
// error, which wraps weir.ErrInvalid.
type cursor struct {
	b   []byte
	off int
}

func (c *cursor) fail(what string) error {
	return weir.Errorf(weir.ErrInvalid, "byte %d: %s", c.off, what)
}

func (c *cursor) short() error {
	return weir.Errorf(weir.ErrInvalid, "byte %d: %w", c.off, errShort)
}

// kind returns the type of the next value: 'd', 'l', 'i', 's' for a string, 'e'
// for the end of the surrounding dictionary or list, '?' for anything else, and
// 0 at the end of the input.
func (c *cursor) kind() byte {
	if c.off >= len(c.b) {
		return 0
	}
	switch k := c.b[c.off]; {
	case k == 'd', k == 'l', k == 'i', k == 'e':
		return k
	case k >= '0' && k <= '9':
		return 's'
	}
	return '?'
}

// kindNames serve error messages.
var kindNames = map[byte]string{
	'd': "a dictionary", 'l': "a list", 'i': "an integer", 's': "a string",
	'e': "an end mark", '?': "no bencode",
}

func (c *cursor) want(kind byte) error {
	switch got := c.kind(); got {
	case kind:
		return nil
	case 0:
		return c.short()
	default:
		return c.fail("want " + kindNames[kind] + ", found " + kindNames[got])
	}
}

// str reads a string; the result is part of the input.
func (c *cursor) str() ([]byte, error) {
	if err := c.want('s'); err != nil {
		return nil, err
	}
	n, i := 0, c.off
	for ; i < len(c.b) && c.b[i] >= '0' && c.b[i] <= '9'; i++ {
		n = n*10 + int(c.b[i]-'0')
		if n > math.MaxInt32 { // also keeps n from overflowing
			return nil, c.fail("string of more than 2 GiB")
		}
	}
	if i >= len(c.b) {
		return nil, c.short()
	}
	if c.b[i] != ':' {
		return nil, c.fail("string length without a colon")
	}
	i++
	if n > len(c.b)-i {
		return nil, c.short()
	}
	c.off = i + n
	return c.b[i:c.off:c.off], nil
}

// digits reads the text of an integer of any size, sign included.
func (c *cursor) digits() ([]byte, error) {
	if err := c.want('i'); err != nil {
		return nil, err
	}
	start := c.off + 1
	n := bytes.IndexByte(c.b[start:], 'e')
	if n < 0 {
		return nil, c.short()
	}
	text := c.b[start : start+n]
	bare := bytes.TrimPrefix(text, []byte("-"))
	if len(bare) == 0 {
		return nil, c.fail("integer without digits")
	}
	for _, d := range bare {
		if d < '0' || d > '9' {
			return nil, c.fail("integer with something else than digits")
		}
	}
	c.off = start + n + 1
	return text, nil
}

// integer reads an integer. One that int64 can't hold comes back as
// math.MaxInt64 or math.MinInt64, so that range checks refuse it with their own
// reason.
func (c *cursor) integer() (int64, error) {
	text, err := c.digits()
	if err != nil {
		return 0, err
	}
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	var n int64
	for _, d := range text {
		if n > (math.MaxInt64-9)/10 {
			if negative {
				return math.MinInt64, nil
			}
			return math.MaxInt64, nil
		}
		n = n*10 + int64(d-'0')
	}
	if negative {
		n = -n
	}
	return n, nil
}

// list calls each with the cursor before every element; each must consume it.
func (c *cursor) list(each func() error) error {
	if err := c.want('l'); err != nil {
		return err
	}
	return c.elements(each)
}

// dict calls each for every key with the cursor before its value; each must
// consume it.
func (c *cursor) dict(each func(key []byte) error) error {
	if err := c.want('d'); err != nil {
		return err
	}
	return c.elements(func() error {
		key, err := c.str()
		if err != nil {
			return err
		}
		return each(key)
	})
}

func (c *cursor) elements(each func() error) error {
	c.off++
	for {
		switch c.kind() {
		case 0:
			return c.short()
		case 'e':
			c.off++
			return nil
		}
		if err := each(); err != nil {
			return err
		}
	}
}

// skip passes over one value of any type. It doesn't recurse, and nests to
// maxDepth and no further.
func (c *cursor) skip() error {
	var open [maxDepth]bool // for each level that is open: is it a dictionary?
	depth := 0
	for {
		kind := c.kind()
		if depth > 0 && kind == 'e' {
			c.off++
			if depth--; depth == 0 {
				return nil
			}
			continue
		}
		if depth > 0 && open[depth-1] {
			if _, err := c.str(); err != nil {
				return err
			}
			kind = c.kind()
		}
		var err error
		switch kind {
		case 's':
			_, err = c.str()
		case 'i':
			_, err = c.digits()
		case 'd', 'l':
			if depth == maxDepth {
				return weir.Errorf(weir.ErrHostile, "byte %d: more than %d levels deep", c.off, maxDepth)
			}
			open[depth] = kind == 'd'
			depth++
			c.off++
		case 0:
			err = c.short()
		default:
			err = c.fail("want a value, found " + kindNames[kind])
		}
		if err != nil || depth == 0 {
			return err
		}
	}
}

// raw passes over one value and returns its bytes as they stand in the input.
func (c *cursor) raw() ([]byte, error) {
	start := c.off
	if err := c.skip(); err != nil {
		return nil, err
	}
	return c.b[start:c.off:c.off], nil
}

// rawCounted is raw, and returns how many elements the value has if it is a list.
func (c *cursor) rawCounted() (b []byte, n int, err error) {
	if c.kind() != 'l' {
		b, err = c.raw()
		return b, 0, err
	}
	start := c.off
	err = c.list(func() error {
		n++
		return c.skip()
	})
	return c.b[start:c.off:c.off], n, err
}
