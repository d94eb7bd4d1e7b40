package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// pieces is the range of torrent coordinates of pieces first to end-1.
func pieces(c *swarmtest.Content, first, end int) weir.Range {
	return weir.Range{Off: c.Info().PieceRange(first).Off, End: c.Info().PieceRange(end - 1).End}
}

// waitState waits until a torrent is in a state.
func waitState(tb testing.TB, ctx context.Context, tor *engine.Torrent, want engine.State) {
	tb.Helper()
	for tor.Stats().State != want {
		select {
		case <-ctx.Done():
			tb.Fatalf("the torrent is %q, and never %q", tor.Stats().State, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// waitWhy waits until a torrent says why its readers wait.
func waitWhy(tb testing.TB, ctx context.Context, tor *engine.Torrent, want string) {
	tb.Helper()
	for !strings.Contains(tor.Stats().Why, want) {
		select {
		case <-ctx.Done():
			tb.Fatalf("it waits because %q, and never because %q", tor.Stats().Why, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestWants: what is wanted ahead of any read is fetched without one, and nothing
// else is; what is set later replaces what was set before.
func TestWants(t *testing.T) {
	for name, newWant := range map[string]func(*engine.Torrent) *engine.Want{
		"Window": (*engine.Torrent).NewWant, "Background": (*engine.Torrent).NewBackgroundWant,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContent(t, 8<<20, 256<<10)
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			store := newMemStore()
			tor := addTorrent(t, openEngine(t, engine.Options{Store: store, Idle: 100 * time.Millisecond}), specOf(c, s.Addr()))
			ctx := testContext(t, 15*time.Second)
			w := newWant(tor)
			// A byte of a piece means all of it, and what comes twice is fetched once.
			w.Set([]weir.Range{pieces(c, 20, 23), {Off: pieces(c, 4, 5).Off + 5, End: pieces(c, 4, 5).Off + 6}, pieces(c, 21, 24)})
			for _, i := range []int{4, 20, 21, 22, 23} {
				store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: i})
			}
			waitState(t, ctx, tor, engine.StateCold)
			w.Set([]weir.Range{pieces(c, 30, 31)}) // warms it again
			store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: 30})
			w.Close()
			w.Set([]weir.Range{pieces(c, 0, 1)}) // does nothing
			waitState(t, ctx, tor, engine.StateCold)
			if got := s.Counters().PayloadBytes; got != 6*256<<10 {
				t.Errorf("%d bytes were fetched, want six pieces of 256 KiB", got)
			}
			_ = s.Close()
			for _, i := range []int{4, 20, 21, 22, 23, 30} {
				wantBytes(t, ctx, tor, c, int64(i)*256<<10, 256<<10)
			}
			for _, i := range []int{0, 3, 5, 19, 24, 31} {
				if store.Has(weir.PieceID{Torrent: c.InfoHash(), Index: i}) {
					t.Errorf("piece %d was fetched, and nobody wanted it", i)
				}
			}
		})
	}
}

// TestWantsAreTakenBack: a window that nobody can fill keeps its torrent warm, and
// only as long as it is wanted.
func TestWantsAreTakenBack(t *testing.T) {
	for name, back := range map[string]func(*engine.Want){
		"Closed":     (*engine.Want).Close,
		"SetToEmpty": func(w *engine.Want) { w.Set(nil) },
		"SetToHeld":  func(w *engine.Want) { w.Set([]weir.Range{{Off: 0, End: 1}}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContent(t, 1<<20, 256<<10)
			s := openSeeder(t, c, swarmtest.SeederOptions{Have: func(_ *swarmtest.Content, piece int) bool { return piece == 0 }})
			store := newMemStore()
			tor := addTorrent(t, openEngine(t, engine.Options{Store: store, Idle: 50 * time.Millisecond}), specOf(c, s.Addr()))
			ctx := testContext(t, 15*time.Second)
			w := tor.NewWant()
			w.Set([]weir.Range{pieces(c, 0, 4)})
			store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: 0})
			s.Give(c, 1) // what comes to be there is fetched: the window stands
			store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: 1})
			back(w)
			waitState(t, ctx, tor, engine.StateCold)
			s.Give(c, 2, 3)
			wantBytes(t, ctx, tor, c, 2*256<<10, 1) // warm again, for a read alone
			if got := s.Counters().PayloadBytes; got != 3*256<<10 {
				t.Errorf("%d bytes were fetched, want three pieces", got)
			}
		})
	}
}

// TestWantBeforeTheMetadata: a window can't be told without the metadata; told
// again, it is followed.
func TestWantBeforeTheMetadata(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	tor := addTorrent(t, openEngine(t, engine.Options{Store: store}), magnetOf(c, s.Addr()))
	ctx := testContext(t, 15*time.Second)
	w := tor.NewWant()
	w.Set([]weir.Range{pieces(c, 0, 4)})
	if _, err := tor.WaitInfo(ctx); err != nil {
		t.Fatal(err)
	}
	w.Set([]weir.Range{pieces(c, 2, 3)})
	store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: 2})
	w.Close()
	wantBytes(t, ctx, tor, c, 3*256<<10, 1)
	if got := s.Counters().PayloadBytes; got != 512<<10 {
		t.Errorf("%d bytes were fetched, want what was wanted and what was read", got)
	}
}
