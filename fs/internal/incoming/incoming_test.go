package incoming

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir/fs/internal/node"
)

func TestBounds(t *testing.T) {
	asked := 0
	s := &Store{Limit: 1000, MakeRoom: func() { asked++ }}
	now := time.Unix(1000, 0)
	one, two := NewFile(now), NewFile(now)
	if err := s.Write(one, []byte("end"), 797); err != nil || s.Bytes() != 800 || asked != 0 {
		t.Fatalf("%v: %d bytes, asked for room %d times", err, s.Bytes(), asked)
	}
	if err := s.Resize(two, 201); !errors.Is(err, syscall.ENOSPC) || s.Bytes() != 800 || asked != 1 {
		t.Errorf("too much in all: %v, %d bytes, asked for room %d times", err, s.Bytes(), asked)
	}
	if err := s.Resize(two, 200); err != nil {
		t.Errorf("just enough: %v", err)
	}
	for _, err := range []error{s.Resize(one, FileBytes+1), s.Resize(one, -1), s.Write(one, []byte("x"), FileBytes), s.Write(one, []byte("x"), -1)} {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("out of bounds: %v, want EFBIG", err)
		}
	}
	if got := one.Read(790, 100); !bytes.Equal(got, append(make([]byte, 7), "end"...)) {
		t.Errorf("read %q", got)
	}
	if one.Read(800, 1) != nil || one.Read(-1, 1) != nil {
		t.Error("read beyond the end")
	}
	if err := s.Resize(one, 10); err != nil || s.Bytes() != 210 {
		t.Errorf("truncate: %v, %d bytes", err, s.Bytes())
	}
	two.Open()
	if s.Discard(two) || s.Bytes() != 210 {
		t.Error("an open file is discarded")
	}
	if !two.Close() || !s.Discard(two) || !s.Discard(one) || s.Bytes() != 0 {
		t.Errorf("%d bytes are left", s.Bytes())
	}
}

func TestSend(t *testing.T) {
	s := &Store{Limit: 1000}
	f := NewFile(time.Unix(1000, 0))
	if f.Unsent() || f.Send("d", "n") != nil {
		t.Error("an empty file is sent")
	}
	if err := s.Write(f, []byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if got := f.Send("d", "n"); string(got) != "abc" || f.Unsent() {
		t.Errorf("sent %q", got)
	}
	if dir, name := f.SentFrom(); dir != "d" || name != "n" {
		t.Errorf("from %q, %q", dir, name)
	}
	if f.Send("d", "n") != nil {
		t.Error("sent twice")
	}
	f.Refused()
	if !f.Unsent() {
		t.Error("what was refused is not to be sent again")
	}
}

func TestAttr(t *testing.T) {
	s := &Store{Limit: 1000}
	f := NewFile(time.Unix(1000, 0))
	if err := s.Resize(f, 513); err != nil {
		t.Fatal(err)
	}
	uid, at := uint32(7), time.Unix(2000, 0)
	now := time.Unix(3000, 0)
	f.Set(node.Change{UID: &uid, Time: &at}, now)
	uid = 9 // the request is used again
	a := node.Attr{UID: 1, GID: 2, ValidFor: time.Hour}
	f.Attr(&a)
	if want := (node.Attr{UID: 7, GID: 2, Mode: 0o644, Links: 1, Size: 513, Blocks: 2, Time: at}); a != want {
		t.Errorf("%+v, want %+v", a, want)
	}
	if !f.Touched().Equal(now) {
		t.Errorf("touched %v", f.Touched())
	}
}
