package wire_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// TestPlan: what is written is read again, and what is cut, too long, or counts more
// than is there is refused.
func TestPlan(t *testing.T) {
	full := wire.Plan{}
	for i := range wire.MaxWanted {
		full.Wanted = append(full.Wanted, [2]int{i, i + 3})
	}
	for i := range wire.MaxBegun {
		full.Fetching = append(full.Fetching, [2]int{1<<31 + i, i})
	}
	for _, want := range []wire.Plan{{}, {Wanted: full.Wanted[:1]}, {Fetching: full.Fetching[:2]}, full} {
		b := wire.AppendPlan(nil, want)
		got, err := wire.ParsePlan(b)
		if err != nil || len(got.Wanted) != len(want.Wanted) || len(got.Fetching) != len(want.Fetching) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		for i := range want.Wanted {
			if got.Wanted[i] != want.Wanted[i] {
				t.Errorf("span %d is %v, want %v", i, got.Wanted[i], want.Wanted[i])
			}
		}
		if len(want.Fetching) > 0 && !reflect.DeepEqual(got.Fetching, want.Fetching) {
			t.Errorf("fetching %v, want %v", got.Fetching, want.Fetching)
		}
		for n := range b {
			_, err := wire.ParsePlan(b[:n])
			if n%8 == 4 && n >= 4+8*len(want.Wanted) {
				continue // a shorter list
			}
			if !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("%d bytes of %d: %v, want %v", n, len(b), err, weir.ErrInvalid)
			}
		}
	}
	many := binary.BigEndian.AppendUint32(nil, wire.MaxWanted+1)
	if _, err := wire.ParsePlan(append(many, make([]byte, 8*(wire.MaxWanted+1))...)); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("too many spans: %v", err)
	}
}
