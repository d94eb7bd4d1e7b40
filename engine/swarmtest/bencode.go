package swarmtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// dict is a bencoded dictionary (BEP 3). Values are dict, list, string,
// []byte and raw (written only), int and int64.
type dict map[string]any

// list is a bencoded list.
type list []any

// raw is a value that is bencoded already (written only).
type raw []byte

// appendBencode appends the encoding of v, dictionaries with sorted keys as
// BEP 3 demands. A type that it doesn't know is a mistake of this package.
func appendBencode(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		b = strconv.AppendInt(b, int64(len(v)), 10)
		return append(append(b, ':'), v...)
	case raw:
		return append(b, v...)
	case []byte:
		b = strconv.AppendInt(b, int64(len(v)), 10)
		return append(append(b, ':'), v...)
	case int:
		return appendBencode(b, int64(v))
	case int64:
		return append(strconv.AppendInt(append(b, 'i'), v, 10), 'e')
	case list:
		b = append(b, 'l')
		for _, e := range v {
			b = appendBencode(b, e)
		}
		return append(b, 'e')
	case dict:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = append(b, 'd')
		for _, k := range keys {
			b = appendBencode(appendBencode(b, k), v[k])
		}
		return append(b, 'e')
	}
	panic(fmt.Sprintf("swarmtest: %T can't be bencoded", v))
}

var errBencode = errors.New("not bencoded")

// maxBencodeDepth keeps hostile nesting off the stack.
const maxBencodeDepth = 32

// parseBencode reads one value from the front of b and returns what follows it.
// Strings come back as string, integers as int64.
func parseBencode(b []byte) (v any, rest []byte, err error) {
	return parseBencodeValue(b, 0)
}

func parseBencodeValue(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 || depth > maxBencodeDepth {
		return nil, nil, errBencode
	}
	switch b[0] {
	case 'i':
		end := slices.Index(b, 'e')
		if end < 0 {
			return nil, nil, errBencode
		}
		n, err := strconv.ParseInt(string(b[1:end]), 10, 64)
		if err != nil {
			return nil, nil, errBencode
		}
		return n, b[end+1:], nil
	case 'l':
		l := list{}
		for b = b[1:]; ; {
			if len(b) > 0 && b[0] == 'e' {
				return l, b[1:], nil
			}
			v, rest, err := parseBencodeValue(b, depth+1)
			if err != nil {
				return nil, nil, err
			}
			l, b = append(l, v), rest
		}
	case 'd':
		d := dict{}
		for b = b[1:]; ; {
			if len(b) > 0 && b[0] == 'e' {
				return d, b[1:], nil
			}
			k, rest, err := parseBencodeString(b)
			if err != nil {
				return nil, nil, err
			}
			v, rest, err := parseBencodeValue(rest, depth+1)
			if err != nil {
				return nil, nil, err
			}
			d[k], b = v, rest
		}
	}
	return parseBencodeString(b)
}

func parseBencodeString(b []byte) (string, []byte, error) {
	colon := slices.Index(b, ':')
	if colon < 1 || colon > 10 {
		return "", nil, errBencode
	}
	n, err := strconv.ParseUint(string(b[:colon]), 10, 31)
	b = b[colon+1:]
	if err != nil || n > uint64(len(b)) {
		return "", nil, errBencode
	}
	return string(b[:n]), b[n:], nil
}
