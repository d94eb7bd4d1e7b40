package swarmtest

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzBencode checks that whatever parses comes back from its own encoding.
func FuzzBencode(f *testing.F) {
	for _, s := range []string{"", "i", "ie", "i-0e", "i5e", "3:ab", "3:abcd", "le", "li1e1:ae", "de", "d1:ai1ee", "d1:a", "99999999999:", "i99999999999999999999e", "d1:bi1e1:ai2eerest"} {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte("l"), 100_000))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := parseBencode(b)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatalf("rest %q isn't the end of the input", rest)
		}
		again, rest, err := parseBencode(appendBencode(nil, v))
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(v, again) {
			t.Fatalf("%v became %v, %q, %v", v, again, rest, err)
		}
	})
}

// FuzzExtended checks that no extended message of a peer breaks the seeder's
// parsers.
func FuzzExtended(f *testing.F) {
	f.Add([]byte("d1:md11:ut_metadatai3ee13:metadata_sizei5e4:reqqi9e1:v1:xe"))
	f.Add([]byte("d1:mi3ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseExtended(b)
		if err != nil && e != (extended{}) {
			t.Fatalf("an error beside %+v", e)
		}
		var buf []byte
		if m, err := readFrame(bytes.NewReader(b), &buf); err == nil && len(m) > len(b)-4 {
			t.Fatalf("a message of %d bytes from %d", len(m), len(b))
		}
		if r, err := parseRequest(b); err == nil && !bytes.Equal(appendRequest(nil, msgRequest, r)[5:], b) {
			t.Fatalf("request %+v from %x", r, b)
		}
		if h, err := readHandshakeHead(bytes.NewReader(b)); err == nil && !bytes.Contains(b, h.infoHash[:]) {
			t.Fatalf("info hash %s isn't in the handshake", h.infoHash)
		}
	})
}
