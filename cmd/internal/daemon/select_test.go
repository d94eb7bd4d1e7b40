package daemon_test

import (
	"testing"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestSelectedFiles: of a torrent whose magnet selects files, fetch and pin bring in
// those, also after a restart; what is named is brought in all the same.
func TestSelectedFiles(t *testing.T) {
	c := newContentOf(t, "selected", 1)
	o := options(t)
	o.Ephemeral = false
	o.Peers = []string{openSeeder(t, c).Addr()}
	d := open(t, o)
	if _, err := d.Add(t.Context(), c.Magnet(swarmtest.Hints{})+"&so=1", ""); err != nil {
		t.Fatal(err)
	}
	const selected, all = 3*pieceBytes + 5, 7*pieceBytes + 5
	var last api.Progress
	fetch := func(path string) {
		t.Helper()
		if err := d.Fetch(t.Context(), path, func(p api.Progress) { last = p }); err != nil {
			t.Fatal(err)
		}
	}
	status := func() api.PathStatus {
		t.Helper()
		s, err := d.Status(t.Context(), "selected")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fetch("selected")
	if s := status(); last.TotalBytes != selected || last.HaveBytes != selected || s.HaveBytes != selected || s.SizeBytes != all ||
		s.Selected == nil || *s.Selected != (api.Selected{Files: 1, SizeBytes: selected, HaveBytes: selected}) {
		t.Errorf("fetched %+v, status %+v, selected %+v", last, s, s.Selected)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	kept, err := d.Pin(t.Context(), "")
	if err != nil || kept.Bytes != selected {
		t.Errorf("pinned %+v, want %d bytes, %v", kept, selected, err)
	}
	if s := status(); s.Selected == nil || s.Pinned {
		t.Errorf("after a restart: selected %+v, all is pinned: %v", s.Selected, s.Pinned)
	}
	fetch("selected/one.bin")
	if s := status(); s.HaveBytes != all {
		t.Errorf("%d bytes of %d after a file was named that is not selected", s.HaveBytes, all)
	}
}
