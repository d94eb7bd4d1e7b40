package bencode_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	reference "github.com/anacrolix/torrent/bencode"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

func TestInt(t *testing.T) {
	for text, want := range map[string]int64{
		"i0e": 0, "i42e": 42, "i-42e": -42, "i007e": 7, "i9223372036854775807e": math.MaxInt64,
		"i9223372036854775800e": 9223372036854775800, "i9000000000000000000e": 9e18, "i-9223372036854775806e": -9223372036854775806,
		"i9223372036854775808e": math.MaxInt64, "i-9999999999999999999e": -math.MaxInt64, "i99999999999999999999e": math.MaxInt64,
	} {
		c := bencode.New([]byte(text + "x"))
		if n, err := c.Int(); err != nil || n != want || string(c.Rest()) != "x" {
			t.Errorf("%s: %d, %v, rest %q; want %d", text, n, err, c.Rest(), want)
		}
	}
	for _, text := range []string{"", "i", "ie", "i-e", "i1", "i1x", "i--1e", "i+1e", "i1.5e", "i999999999999999999999e", "1:x", "i 1e"} {
		if n, err := bencode.New([]byte(text)).Int(); n != 0 || !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %d, %v; want 0 and %v", text, n, err, weir.ErrInvalid)
		}
	}
}

func TestString(t *testing.T) {
	for text, want := range map[string]string{"0:": "", "3:abc": "abc", "003:abc": "abc"} {
		c := bencode.New([]byte(text + "rest"))
		if s, err := c.String(); err != nil || string(s) != want || string(c.Rest()) != "rest" {
			t.Errorf("%s: %q, %v, rest %q; want %q", text, s, err, c.Rest(), want)
		}
	}
	for _, text := range []string{"", "3", "3:ab", "4294967295:x", "99999999999999999999:x", "999999999999999999999:x", "3x", "i1e", "-1:x"} {
		if s, err := bencode.New([]byte(text)).String(); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %q, %v; want %v", text, s, err, weir.ErrInvalid)
		}
	}
}

func TestWalk(t *testing.T) {
	c := bencode.New([]byte("d1:bi2e1:ali1e2:xxd1:ki1eee1:cdeeREST"))
	var seen []string
	err := c.Dict(func(key []byte) error {
		seen = append(seen, string(key))
		if string(key) != "a" {
			return c.Skip()
		}
		return c.List(func() error {
			seen = append(seen, string(rune(c.Kind())))
			return c.Skip()
		})
	})
	if got := strings.Join(seen, " "); err != nil || got != "b a i s d c" || string(c.Rest()) != "REST" {
		t.Errorf("walked over %q, %v, rest %q", got, err, c.Rest())
	}
	for _, text := range []string{"d", "di1e1:ae", "d1:ae", "l", "l1:a", "d1:a", "i1e", "lxe", "d3:ab"} {
		c := bencode.New([]byte(text))
		walk := func() error { return c.Dict(func([]byte) error { return c.Skip() }) }
		if text[0] == 'l' {
			walk = func() error { return c.List(c.Skip) }
		}
		if err := walk(); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %v, want %v", text, err, weir.ErrInvalid)
		}
	}
	if err := bencode.New([]byte("l1:ae")).List(func() error { return nil }); err == nil {
		t.Error("an element that was not consumed is walked over for ever")
	}
}

// TestMaybe: a value of the wrong type is passed over, and what is no value is an error.
func TestMaybe(t *testing.T) {
	for text, want := range map[string]string{"i7e": "int", "1:x": "string", "le": "list", "li1ee": "list element", "de": "dict", "d1:ai1ee": "dict a", "": "error", "l": "error", "i7": "error", "2:x": "error", "d1:a": "error"} {
		got := map[string]bool{}
		for _, try := range []func(*bencode.Cursor) (string, error){
			func(c *bencode.Cursor) (string, error) {
				n := int64(-1)
				err := c.MaybeInt(&n)
				return map[bool]string{true: "int"}[n == 7], err
			},
			func(c *bencode.Cursor) (string, error) {
				var s []byte
				err := c.MaybeString(&s)
				return map[bool]string{true: "string"}[string(s) == "x"], err
			},
			func(c *bencode.Cursor) (read string, err error) {
				if c.Kind() == bencode.List {
					read = "list"
				}
				return read, c.MaybeList(func() error { read += " element"; return c.Skip() })
			},
			func(c *bencode.Cursor) (read string, err error) {
				if c.Kind() == bencode.Dict {
					read = "dict"
				}
				return read, c.MaybeDict(func(key []byte) error { read += " " + string(key); return c.Skip() })
			},
		} {
			c := bencode.New([]byte(text + "REST"))
			read, err := try(c)
			if text == "" || !strings.HasSuffix(text, "e") && text != "1:x" {
				c = bencode.New([]byte(text))
				_, err = try(c)
			}
			switch {
			case err != nil:
				got["error"] = true
			case string(c.Rest()) != "REST":
				t.Errorf("%q: rest %q", text, c.Rest())
			case read != "":
				got[read] = true
			}
		}
		if len(got) != 1 || !got[want] {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}

func TestAppendString(t *testing.T) {
	if got := bencode.AppendString([]byte("d"), strings.Repeat("s", 12)); string(got) != "d12:ssssssssssss" {
		t.Errorf("%q", got)
	}
}

// TestDict: what is a dictionary that others send, and what is none.
func TestDict(t *testing.T) {
	for in, ok := range map[string]bool{
		"de": true, "deX": true, "d1:ai1ee": true, "d1:bi1e1:ai2ee": true, "d0:0:e": true, "d1:a1:be": true,
		"": false, "d": false, "i1e": false, "le": false, "1:a": false, "d1:a": false, "d1:ae": false, "di1ei2ee": false, "d-1:ai1ee": false, "d1ai1ee": false,
		"d1:ai": false, "d1:aie": false, "d1:ai1": false, "d1:axe": false, "d1:ai-e": false, "d1:ai1.5ee": false, "d1:a2:be": false, "d1:a3:be": false, "dd1:ae": false,
		"d1:ai9223372036854775807ee": true, "d1:ai-9223372036854775808ee": true, "d1:al1:b": false, "d:ai1ee": false,
		"d1:a" + strings.Repeat("l", 15) + strings.Repeat("e", 15) + "e": true, "d1:a" + strings.Repeat("l", 16) + strings.Repeat("e", 16) + "e": false,
	} {
		c := bencode.New([]byte(in))
		if err := c.Dict(func([]byte) error { return c.Skip() }); (err == nil) != ok {
			t.Errorf("%.60q: %v", in, err)
		}
	}
}

// TestSkip: one value is passed over, at the top and within others, and what is none
// is refused wherever it stands.
func TestSkip(t *testing.T) {
	for _, text := range []string{"i1e", "3:abc", "le", "de", "l1:a1:be", "d1:ai1ee", "d1:ad1:bleee", "li1eli2edee1:xe"} {
		for _, around := range []string{"%", "l%e", "d1:k%e", "l1:a%i1ee", "d1:a%1:bi1ee"} {
			c := bencode.New([]byte(strings.Replace(around, "%", text, 1) + "i9e"))
			if err := c.Skip(); err != nil || string(c.Rest()) != "i9e" {
				t.Errorf("%s in %s: %v, rest %q", text, around, err, c.Rest())
			}
		}
	}
	for _, text := range []string{"", "e", "ee", "el", "eli1ee", "x", "3:ab", "9:", "3", "i", "i1", "ix", "l", "d", "d1:a", "d1:ae", "di1ei2ee", "d3:ab", "d9:ai1ee", "d3", "l3:abe", "lx", "d1:ax"} {
		for _, around := range []string{"%", "l%", "d1:k%", "lll%"} {
			if around != "%" && strings.HasPrefix(text, "e") {
				continue // it ends what is around
			}
			c := bencode.New([]byte(strings.Replace(around, "%", text, 1)))
			if err := c.Skip(); !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("%q in %s: %v, rest %q", text, around, err, c.Rest())
			}
		}
	}
}

// TestDepth: 16 levels, whichever way they are passed.
func TestDepth(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("l", n) + strings.Repeat("e", n)) }
	if err := bencode.New(nested(16)).Skip(); err != nil {
		t.Errorf("16 levels: %v", err)
	}
	if err := bencode.New(nested(17)).Skip(); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("17 levels: %v", err)
	}
	for n, ok := range map[int]bool{16: true, 17: false} {
		c := bencode.New(nested(n))
		var each func() error
		each = func() error { return c.List(each) }
		if err := c.List(each); (err == nil) != ok {
			t.Errorf("%d levels, walked: %v", n, err)
		}
		c = bencode.New(nested(n))
		if err := c.List(c.Skip); (err == nil) != ok {
			t.Errorf("%d levels, half of it skipped: %v", n, err)
		}
	}
}

// TestMetainfo: metainfo has other bounds, and tells what was cut off.
func TestMetainfo(t *testing.T) {
	for text, want := range map[string]int64{"i999999999999999999999e": math.MaxInt64, "i-" + strings.Repeat("0", 50) + "7e": -7} {
		if n, err := bencode.NewMetainfo([]byte(text)).Int(); err != nil || n != want {
			t.Errorf("%s: %d, %v; want %d", text, n, err, want)
		}
	}
	nested := func(n int) []byte { return []byte(strings.Repeat("l", n) + strings.Repeat("e", n)) }
	for n, ok := range map[int]bool{512: true, 513: false} {
		if err := bencode.NewMetainfo(nested(n)).Skip(); (err == nil) != ok || err != nil && (!errors.Is(err, weir.ErrHostile) || !errors.Is(err, weir.ErrInvalid)) {
			t.Errorf("%d levels: %v", n, err)
		}
		c := bencode.NewMetainfo(nested(n))
		var each func() error
		each = func() error { return c.List(each) }
		if err := c.List(each); (err == nil) != ok {
			t.Errorf("%d levels, walked: %v", n, err)
		}
	}
	whole := "d1:ai1e1:bl2:xyd0:i7eee1:c3:abce"
	for n := range len(whole) {
		c := bencode.NewMetainfo([]byte(whole[:n]))
		if err := c.Skip(); !errors.Is(err, bencode.ErrShort) || !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %v", whole[:n], err)
		}
		c = bencode.NewMetainfo([]byte(whole[:n]))
		if err := c.Dict(func([]byte) error { return c.Skip() }); !errors.Is(err, bencode.ErrShort) {
			t.Errorf("%q, walked: %v", whole[:n], err)
		}
	}
	c := bencode.NewMetainfo([]byte(whole + "rest"))
	if b, err := c.Raw(); err != nil || string(b) != whole || string(c.Rest()) != "rest" {
		t.Errorf("raw %q, %v, rest %q", b, err, c.Rest())
	}
	if err := c.Expect(bencode.Int); err == nil || c.Kind() != bencode.None {
		t.Errorf("an r is no integer: %v", err)
	}
}

// TestAllocations: passing over a message allocates nothing.
func TestAllocations(t *testing.T) {
	b := []byte("d1:m" + strings.Repeat("l", 10) + strings.Repeat("e", 10) + "1:xi12345e1:y" + "5:abcdee")
	if n := testing.AllocsPerRun(100, func() {
		if bencode.New(b).Skip() != nil {
			t.Fatal("refused")
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSkip: what is passed over is what the library reads, as far as the bounds go.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{"d1:ai1ee", "le", "i-1e", "3:abc", "d1:m4294967295:x", "lllleeee", "di1ee", "d1:a1:b1:c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := bencode.New(b)
		err := c.Skip()
		if len(c.Rest()) > len(b) {
			t.Fatal("the cursor went backwards")
		}
		if err != nil {
			return
		}
		taken := b[:len(b)-len(c.Rest())]
		again := bencode.New(taken)
		if again.Skip() != nil || len(again.Rest()) > 0 {
			t.Fatalf("%q is no value by itself", taken)
		}
		// The library refuses some forms of numbers; else it takes the same bytes.
		var v any
		d := reference.NewDecoder(bytes.NewReader(taken))
		if d.Decode(&v) == nil && d.Offset != int64(len(taken)) {
			t.Fatalf("%q: the library takes %d bytes of it", taken, d.Offset)
		}
	})
}
