package foreign_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir/cmd/proof/foreign"
	torrent "github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestBothSwarms: a leech that knows a hybrid torrent by its v2 hash alone gets
// metadata, content and hashes from weir, which has it by its v1 hash; and weir by
// the v2 hash from a seeder.
func TestBothSwarms(t *testing.T) {
	t.Parallel()
	path := foreign.Folder(t, "both")
	tracker, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Announced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracker.Close() })
	source := foreign.LibtorrentMake(t, foreign.Making{Path: path, Announce: tracker.URL(), PieceBytes: 64 << 10, Version: foreign.Hybrid})
	job := foreign.Job{Source: source, Dir: filepath.Dir(path), IP: foreign.NextIP()}
	spec, err := torrent.Loader{}.Load(t.Context(), source)
	if err != nil || spec.InfoHashV2 == [32]byte{} || spec.Info.V2 {
		t.Fatalf("not a hybrid torrent: %v", err)
	}
	both := foreign.Magnet(t, source)
	v2 := fmt.Sprintf("magnet:?xt=urn:btmh:1220%x&tr=%s", spec.InfoHashV2, url.QueryEscape(tracker.URL()))
	for _, named := range []string{source, both, v2} {
		seeder := foreign.Libtorrent(t, job)
		tracker.SetPeers(seeder.Addr)
		m := start(t, named)
		if wrong := differ(t, m.Path(m.Names[0]), path); wrong != "" {
			t.Fatal(wrong)
		}
		seeder.Stop()
		tracker.SetPeers()
		for _, theirs := range []string{v2, both} {
			leech := foreign.Libtorrent(t, foreign.Job{Source: theirs, Dir: t.TempDir(), IP: foreign.NextIP()})
			leech.WaitComplete(t)
			leech.Stop()
		}
		m.Unmount(t)
	}
}
