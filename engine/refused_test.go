package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestRefusedMetadata: a magnet whose metadata can't be used says so, after the wait
// for it has ended too.
func TestRefusedMetadata(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "c", PieceLength: 32 << 10, Files: []swarmtest.File{{Path: []string{"..", "passwd"}, Bytes: make([]byte, 1000)}, {Path: []string{"b"}, Bytes: make([]byte, 1000)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, magnetOf(c))
	if s := tor.Stats(); s.State == engine.StateRefused {
		t.Fatalf("before: %+v", s)
	}
	tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{}).Addr()})
	if _, err := tor.WaitInfo(testContext(t, time.Minute)); !errors.Is(err, weir.ErrHostile) {
		t.Fatalf("waiting for it: %v", err)
	}
	if s := tor.Stats(); s.State != engine.StateRefused || !strings.Contains(s.Why, `".." leaves its folder`) {
		t.Errorf("state %s: %s", s.State, s.Why)
	}
	if err := e.Remove(tor.InfoHash()); err != nil {
		t.Fatal(err)
	}
	if s := tor.Stats(); s.State != engine.StateRefused {
		t.Errorf("after it was removed: %s", s.State)
	}
}
