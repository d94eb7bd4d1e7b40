package node

import (
	"fmt"
	"testing"

	"github.com/weirfs/weir"
)

func TestNode(t *testing.T) {
	var ih weir.InfoHash
	for i := range ih {
		ih[i] = byte(i + 1)
	}
	if got := Prefix(ih, 0); got != 0x0102030405 {
		t.Errorf("prefix %#x", got)
	}
	if Prefix(weir.InfoHash{}, 0) == 0 {
		t.Error("prefix 0 belongs to the root")
	}
	if Prefix(ih, 1) == Prefix(ih, 2) {
		t.Error("the same candidate twice")
	}
	for _, e := range []uint32{0, 1, MaxEntries - 1} {
		id := Make(0xfffffffffe, e)
		if p, got := id.Split(); p != 0xfffffffffe || got != e {
			t.Errorf("%v: %#x %d", id, p, got)
		}
	}
	if got := fmt.Sprintf("%x", uint64(Make(0x0102030405, 7))); got != "102030405000007" {
		t.Errorf("node id %s: inodes would change with this version", got)
	}
}
