package engine_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/attack"
)

// maxHostileBytes is how much memory one connection may make weir keep.
const maxHostileBytes = 32 << 20

// attackTarget is an engine with a torrent of which it holds the first half, for
// attacks; an honest seeder is beside them.
type attackTarget struct {
	e      *engine.Engine
	tor    *engine.Torrent
	c      *swarmtest.Content
	target attack.Target
}

// newAttackTarget makes the content, which has hash trees.
func newAttackTarget(t *testing.T) *attackTarget {
	t.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "attacked", PieceLength: 32 << 10, Version: swarmtest.V2,
		Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 2 << 20, Seed: 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		t.Fatal(err)
	}
	spec.Peers = []string{s.Addr()}
	a := &attackTarget{c: c, target: attack.Target{
		InfoHash: c.InfoHash(), Pieces: c.Info().NumPieces(), PieceLength: 32 << 10, Metadata: len(c.InfoBytes()), Root: c.Roots()[0],
	}}
	a.e = openEngine(t, engine.Options{})
	a.tor = addTorrent(t, a.e, spec)
	return a
}

// attack runs a kind over n connections, and ends them when the test does.
func (a *attackTarget) attack(ctx context.Context, t *testing.T, k attack.Kind, n int) (wait func() []attack.Outcome) {
	t.Helper()
	outcomes := make(chan attack.Outcome, n)
	for range n {
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", portOf(a.e))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		go func() {
			o, err := k.Run(ctx, nc, a.target)
			if err != nil {
				t.Errorf("attack: %v", err)
			}
			outcomes <- o
		}()
	}
	return func() (all []attack.Outcome) {
		for range n {
			all = append(all, <-outcomes)
		}
		return all
	}
}

// TestAttacks: whatever one connection sends, it costs little memory, a read is served by
// an honest seeder meanwhile, and the engine closes in time.
func TestAttacks(t *testing.T) {
	for _, k := range attack.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			a := newAttackTarget(t)
			ctx := testContext(t, time.Minute)
			half := int(a.c.Info().Length / 2)
			wantBytes(t, ctx, a.tor, a.c, 0, half)
			before := heap()
			wait := a.attack(ctx, t, k, 1)
			wantBytes(t, ctx, a.tor, a.c, int64(half), half)
			o := wait()[0]
			kept := heap() - before - int64(half)
			if o.Sent >= attack.MostBytes {
				t.Errorf("all of %d bytes were taken", o.Sent)
			}
			t.Logf("%d bytes sent, %d kept; ended %v, stalled %v", o.Sent, kept, o.Ended, o.Stalled)
			if kept > maxHostileBytes {
				t.Errorf("%d bytes are kept after %d were sent, want at most %d", kept, o.Sent, maxHostileBytes)
			}
			closed := make(chan error, 1)
			go func() { closed <- a.e.Close() }()
			select {
			case err := <-closed:
				if err != nil {
					t.Error(err)
				}
			case <-ctx.Done():
				t.Error("the engine does not end")
			}
		})
	}
}

// TestAttacksTogether: every kind at once, on a torrent and
// on a magnet without metadata. What all of them make weir keep is bounded, an honest
// read beside them gets what it wants, and the engine ends while they go on.
func TestAttacksTogether(t *testing.T) {
	const most = 256 << 20
	launch := func(ctx context.Context, t *testing.T, a *attackTarget) <-chan struct{} {
		var all sync.WaitGroup
		for _, k := range attack.Kinds() {
			wait := a.attack(ctx, t, k, 1)
			all.Go(func() { wait() })
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			all.Wait()
		}()
		return done
	}
	t.Run("Torrent", func(t *testing.T) {
		a := newAttackTarget(t)
		ctx := testContext(t, time.Minute)
		before := heap()
		done := launch(ctx, t, a)
		wantBytes(t, ctx, a.tor, a.c, 0, int(a.c.Info().Length))
		if kept := heap() - before; kept > most {
			t.Errorf("%d bytes are kept, want at most %d", kept, most)
		}
		if err := a.e.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	t.Run("Magnet", func(t *testing.T) {
		a := newAttackTarget(t)
		ctx := testContext(t, time.Minute)
		tor := addTorrent(t, a.e, &source.Spec{InfoHash: [20]byte{1, 2, 3}})
		a.target.InfoHash = tor.InfoHash()
		before, peak := heap(), int64(0)
		done := launch(ctx, t, a)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for going := true; going; {
			select {
			case <-done:
				going = false
			case <-tick.C:
			}
			peak = max(peak, heap()-before)
		}
		if peak > most {
			t.Errorf("%d bytes are kept, want at most %d", peak, most)
		}
		wantBytes(t, ctx, a.tor, a.c, 0, int(a.c.Info().Length))
	})
}
