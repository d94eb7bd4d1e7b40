package daemon_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestHeldIsFoundAfterARestart: a torrent that is complete is announced by the next mount,
// cold, and given to a peer that asks; what it gave, and what was set for it, is known in the
// mount after that.
func TestHeldIsFoundAfterARestart(t *testing.T) {
	c := newContent(t, "held")
	s := openSeeder(t, c)
	tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }()
	o := options(t)
	o.Peers = []string{s.Addr()}
	d := open(t, o)
	if _, err := d.AddFile(t.Context(), c.Torrent(swarmtest.Hints{}), ""); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(o.Mountpoint, "held", "file.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	rate, ratio := int64(1<<20), 40.0
	set, err := d.SetSharing("held", api.SharingChange{UploadRate: &rate, Ratio: &ratio, AddTrackers: []string{tr.URL()}})
	if err != nil || set.UploadRate != rate || set.Ratio != ratio || set.Seed != "all" {
		t.Fatalf("%+v, %v", set, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	started := func(n int) (last swarmtest.Announce) {
		t.Helper()
		eventually(t, "the tracker hears a greeting", func() bool {
			seen := 0
			for _, a := range tr.Announces() {
				if a.Event == "started" {
					seen, last = seen+1, a
				}
			}
			return seen >= n
		})
		return last
	}
	started(1)
	closeDaemon(t, d)

	o.Peers = nil
	d = open(t, o)
	a := started(2)
	if got := d.Torrents()[0]; got.State != api.StateComplete || got.Peers != 0 || a.Left != 0 || !got.Offered {
		t.Errorf("%+v; the tracker hears %+v", got, a)
	}
	l, err := swarmtest.DialLeech(ctx, a.Addr.String(), c.InfoHash(), swarmtest.LeechOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := l.Interested(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Fetch(ctx, 2, 0, 16<<10); err != nil {
		t.Fatal(err)
	}
	closeDaemon(t, d)

	d = open(t, o)
	got := d.Torrents()[0]
	if got.Uploaded != 16<<10 || got.Downloaded != c.Info().Length || got.Ratio <= 0 {
		t.Errorf("after two runs: %+v", got)
	}
	status, err := d.Status(ctx, "held")
	if err != nil || status.Sharing != set {
		t.Errorf("settings after a restart: %+v, %v", status.Sharing, err)
	}
}
