package daemon_test

import (
	"testing"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestPinLater pins magnets before their metadata is there. It is carried out when
// that comes, also after a restart, and of what the magnet selects; what was unpinned
// meanwhile is not pinned.
func TestPinLater(t *testing.T) {
	const selected, all = 3*pieceBytes + 5, 7*pieceBytes + 5
	for _, c := range []struct {
		name, so, pin, unpin string
		want                 int64
	}{
		{"whole", "", "", "-", all},
		{"selected", "&so=1", "", "-", selected},
		{"one", "", "/one.bin", "-", 4 * pieceBytes},
		{"both", "", "/one.bin", "/two.bin", 4 * pieceBytes},
		{"undone", "", "/one.bin", "", 0},
		{"missing", "", "/nothing.bin", "-", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := newContentOf(t, "x", 1)
			o := options(t)
			d := open(t, o)
			if _, err := d.Add(t.Context(), content.Magnet(swarmtest.Hints{})+c.so, "in"); err != nil {
				t.Fatal(err)
			}
			if kept, err := d.Pin(t.Context(), "in/x"+c.pin); err != nil || kept.Pending != 1 || kept.Bytes != 0 {
				t.Errorf("pin: %+v, %v", kept, err)
			}
			if c.unpin != "-" {
				if _, err := d.Unpin(t.Context(), "in/x"+c.unpin); err != nil {
					t.Error(err)
				}
			}
			if pending := d.Torrents()[0].PinPending; pending != (c.name != "undone") {
				t.Errorf("pending: %v", pending)
			}
			closeDaemon(t, d)
			o.Peers = []string{openSeeder(t, content).Addr()}
			d = open(t, o)
			if c.name == "undone" {
				if _, err := d.Add(t.Context(), content.Magnet(swarmtest.Hints{}), ""); err != nil {
					t.Fatal(err)
				}
				if err := d.Fetch(t.Context(), "in/x/one.bin", func(api.Progress) {}); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the pin is carried out", func() bool {
				tr := d.Torrents()[0]
				return !tr.PinPending && tr.SizeBytes == all && tr.PinnedBytes >= c.want && (c.want == 0 || tr.HaveBytes >= c.want)
			})
			if got := d.Torrents()[0]; got.PinnedBytes != c.want {
				t.Errorf("%d bytes pinned, want %d", got.PinnedBytes, c.want)
			}
		})
	}
}
