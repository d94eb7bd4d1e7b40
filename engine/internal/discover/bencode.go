package discover

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/weirfs/weir"
)

// Bounds on bencoded messages from outside. What honest programs send stays far
// below them.
const (
	maxDepth  = 12
	maxValues = 1 << 14
)

type kind uint8

const (
	kindNone kind = iota // not there
	kindString
	kindInt
	kindList
	kindDict
)

// value is one bencoded value. Strings are slices of what was parsed. The zero
// value stands for something that isn't there, and asking it for a string, a
// number or a key gives nothing: a missing key and one of the wrong type are
// the same to us.
type value struct {
	kind kind
	str  []byte
	num  int64
	list []value
	dict map[string]value
}

func (v value) get(key string) value { return v.dict[key] }

// int returns the number, or otherwise when v is none.
func (v value) int(otherwise int64) int64 {
	if v.kind == kindInt {
		return v.num
	}
	return otherwise
}

// parser reads bencoding (BEP 3). It allocates in proportion to what it was
// given, whatever lengths that claims. Keys may come in any order, the last of
// a double key counts.
type parser struct {
	rest   []byte
	values int
}

// parseDict reads a dictionary. What follows it is ignored, as some trackers add
// a line end.
func parseDict(b []byte) (value, error) {
	v, _, err := parsePrefix(b)
	return v, err
}

// parsePrefix reads a dictionary and returns what follows it.
func parsePrefix(b []byte) (value, []byte, error) {
	p := parser{rest: b}
	v, err := p.value(0)
	if err == nil && v.kind != kindDict {
		err = p.bad("not a dictionary")
	}
	if err != nil {
		return value{}, nil, err
	}
	return v, p.rest, nil
}

func (p *parser) bad(what string) error {
	return fmt.Errorf("bencoding: %s: %w", what, weir.ErrInvalid)
}

func (p *parser) value(depth int) (value, error) {
	if p.values++; p.values > maxValues {
		return value{}, p.bad("too many values")
	}
	if depth > maxDepth {
		return value{}, p.bad("too deep")
	}
	if len(p.rest) == 0 {
		return value{}, p.bad("ends early")
	}
	switch c := p.rest[0]; {
	case c == 'i':
		n, err := p.number(1, 'e')
		return value{kind: kindInt, num: n}, err
	case c >= '0' && c <= '9':
		s, err := p.string()
		return value{kind: kindString, str: s}, err
	case c == 'l':
		return p.listed(depth)
	case c == 'd':
		return p.keyed(depth)
	}
	return value{}, p.bad("unknown type")
}

// number reads the decimal number from index from up to end.
func (p *parser) number(from int, end byte) (int64, error) {
	i := bytes.IndexByte(p.rest[:min(len(p.rest), 24)], end)
	if i < from {
		return 0, p.bad("number without end")
	}
	n, err := strconv.ParseInt(string(p.rest[from:i]), 10, 64)
	if err != nil {
		return 0, p.bad("not a number")
	}
	p.rest = p.rest[i+1:]
	return n, nil
}

func (p *parser) string() ([]byte, error) {
	n, err := p.number(0, ':')
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(p.rest)) {
		return nil, p.bad("string longer than the message")
	}
	s := p.rest[:n:n]
	p.rest = p.rest[n:]
	return s, nil
}

// ended takes the end of a list or a dictionary.
func (p *parser) ended() bool {
	if len(p.rest) > 0 && p.rest[0] == 'e' {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *parser) listed(depth int) (value, error) {
	p.rest = p.rest[1:]
	v := value{kind: kindList}
	for !p.ended() {
		item, err := p.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.list = append(v.list, item)
	}
	return v, nil
}

func (p *parser) keyed(depth int) (value, error) {
	p.rest = p.rest[1:]
	v := value{kind: kindDict, dict: map[string]value{}}
	for !p.ended() {
		if len(p.rest) == 0 || p.rest[0] < '0' || p.rest[0] > '9' {
			return value{}, p.bad("key is not a string")
		}
		key, err := p.string()
		if err != nil {
			return value{}, err
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.dict[string(key)] = item
	}
	return v, nil
}

// appendString appends the bencoded string s.
func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
