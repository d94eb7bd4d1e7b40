package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

func openTracker(tb testing.TB, o swarmtest.TrackerOptions) *swarmtest.Tracker {
	tb.Helper()
	tr, err := swarmtest.OpenTracker(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tr.Close() })
	return tr
}

// TestWarmStartWithoutTracker: a torrent finds the peers that it had before,
// after a restart and after it was cold, when nobody tells it of them.
func TestWarmStartWithoutTracker(t *testing.T) {
	for _, private := range []bool{false, true} {
		t.Run(fmt.Sprintf("Private=%v", private), func(t *testing.T) {
			c, err := swarmtest.NewContent(swarmtest.ContentOptions{
				Name: "content", PieceLength: 64 << 10, Private: private,
				Files: []swarmtest.File{{Path: []string{"a"}, Length: 1 << 20, Seed: 3}},
			})
			if err != nil {
				t.Fatal(err)
			}
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			tr := openTracker(t, swarmtest.TrackerOptions{Peers: []string{s.Addr()}})
			ctx := testContext(t, 20*time.Second)
			store := newMemStore()
			named := specOf(c)
			named.Trackers = [][]string{{tr.URL()}}

			e := openEngine(t, engine.Options{Store: store, Idle: 50 * time.Millisecond})
			tor := addTorrent(t, e, named)
			wantBytes(t, ctx, tor, c, 0, 4096)
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			awaitState(t, ctx, tor, engine.StateCold)
			wantBytes(t, ctx, tor, c, 128<<10, 4096)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}

			again := openEngine(t, engine.Options{Store: store})
			wantBytes(t, ctx, addTorrent(t, again, specOf(c)), c, 256<<10, 4096) // without even the name of a tracker
		})
	}
}

// TestWarmStartOfAPrivateTorrent: peers in the record that were not named by its tracker are
// not used.
func TestWarmStartOfAPrivateTorrent(t *testing.T) {
	ctx := testContext(t, 20*time.Second)
	content := func(private bool) *swarmtest.Content {
		c, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: "content", PieceLength: 64 << 10, Private: private,
			Files: []swarmtest.File{{Path: []string{"a"}, Length: 1 << 20, Seed: 3}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// The same record under both: one of a peer that the user named.
	public, private := content(false), content(true)
	s := openSeeder(t, public, swarmtest.SeederOptions{Contents: []*swarmtest.Content{private}})
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	wantBytes(t, ctx, addTorrent(t, e, specOf(public, s.Addr())), public, 0, 4096)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ih, other := public.InfoHash(), private.InfoHash()
	record, err := store.Record(engine.PeersBucket, ih[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutRecord(engine.PeersBucket, other[:], record); err != nil {
		t.Fatal(err)
	}
	again := openEngine(t, engine.Options{Store: store})
	wantBytes(t, ctx, addTorrent(t, again, specOf(public)), public, 128<<10, 4096)
	tor := addTorrent(t, again, specOf(private))
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := tor.ReadAt(short, make([]byte, 1), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a private torrent uses a peer that its tracker has not named: %v", err)
	}
}

func TestRecordOfPeersThatMakesNoSense(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	ih := c.InfoHash()
	if err := store.PutRecord(engine.PeersBucket, ih[:], []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, engine.Options{Store: store})
	wantBytes(t, testContext(t, 20*time.Second), addTorrent(t, e, specOf(c, s.Addr())), c, 0, 4096)
}

// awaitState waits until the torrent is in a state.
func awaitState(t *testing.T, ctx context.Context, tor *engine.Torrent, want engine.State) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for tor.Stats().State != want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the torrent stays %s, want %s", tor.Stats().State, want)
		}
	}
}

// TestDeadTrackers: what a first read costs when the trackers before the one that
// works are broken in all ways, in tiers of their own and in one.
func TestDeadTrackers(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	good := openTracker(t, swarmtest.TrackerOptions{Peers: []string{s.Addr()}})
	var dead []string
	for _, f := range []swarmtest.TrackerFault{swarmtest.TrackerHangs, swarmtest.TrackerError, swarmtest.TrackerGarbage} {
		dead = append(dead, openTracker(t, swarmtest.TrackerOptions{Fault: f}).URL())
	}
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	dead = append(dead, "udp://"+mute.LocalAddr().String())
	for _, tc := range []struct {
		name  string
		tiers [][]string
		most  time.Duration // a second for each that hangs, and then some for a busy machine
	}{
		{"Tiers", [][]string{{dead[0]}, {dead[1]}, {dead[2]}, {dead[3]}, {good.URL()}}, 1500 * time.Millisecond},
		{"OneTier", [][]string{append(slices.Clone(dead), good.URL())}, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := openEngine(t, engine.Options{})
			spec := specOf(c)
			spec.Trackers = tc.tiers
			begin := time.Now()
			wantBytes(t, testContext(t, 20*time.Second), addTorrent(t, e, spec), c, 0, 4096)
			took := time.Since(begin)
			t.Logf("first read after %v", took)
			if took > tc.most {
				t.Errorf("the first read took %v, want at most %v", took, tc.most)
			}
		})
	}
}

// TestDeadMagnetsBesideALiveOne: many dead torrents, whose peers refuse or don't answer, do
// not delay a live one.
func TestDeadMagnetsBesideALiveOne(t *testing.T) {
	const crowd = 50
	var mute, refusing []string
	for i := range 20 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.7.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		mute = append(mute, l.Addr().String()) // the kernel accepts, nobody speaks
		gone, err := net.Listen("tcp", fmt.Sprintf("127.0.8.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		refusing = append(refusing, gone.Addr().String())
		gone.Close()
	}
	c := newContent(t, 1<<20, 64<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	ctx := testContext(t, 60*time.Second)
	firstRead := func(e *engine.Engine) time.Duration {
		begin := time.Now()
		tor := addTorrent(t, e, magnetOf(c, append(slices.Clone(mute[:10]), s.Addr())...))
		wantBytes(t, ctx, tor, c, 0, 4096)
		took := time.Since(begin)
		wantBytes(t, ctx, tor, c, 64<<10, 512<<10)
		return took
	}
	alone := firstRead(openEngine(t, engine.Options{}))

	before := runtime.NumGoroutine()
	e := openEngine(t, engine.Options{})
	waiting, stop := context.WithCancel(ctx)
	ended := make(chan error, crowd)
	for i := range crowd {
		tor := addTorrent(t, e, &source.Spec{InfoHash: weir.InfoHash{1, byte(i)}, Peers: append(slices.Clone(refusing), mute...)})
		go func() {
			_, err := tor.WaitInfo(waiting)
			ended <- err
		}()
	}
	// All have begun, and the dials that mute peers let hang are used up.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for dialing := 0; dialing < crowd; _, dialing = e.ConnSlots() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d dials are under way", dialing)
		}
	}
	took := firstRead(e)
	t.Logf("first read alone after %v, in the crowd after %v", alone, took)
	if took > alone+3*time.Second {
		t.Errorf("the first read of a live torrent took %v, alone %v", took, alone)
	}
	// Each: who waits, the owner, the search and a dial with its timer, or two.
	if n := runtime.NumGoroutine() - before; n > 10*crowd {
		t.Errorf("%d goroutines for %d dead torrents", n, crowd)
	}
	if open, _ := e.ConnSlots(); open > 200 {
		t.Errorf("%d connections", open)
	}
	stop()
	for range crowd {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for the metadata of a dead torrent: %v", err)
		}
	}
}

func TestSelectOnly(t *testing.T) {
	file := func(name string, n int64) swarmtest.File {
		return swarmtest.File{Path: []string{name}, Length: n, Seed: 1}
	}
	for _, tc := range []struct {
		name  string
		o     swarmtest.ContentOptions
		spans []source.FileSpan
		want  []string
	}{
		{"None", swarmtest.ContentOptions{}, nil, nil},
		{"Some", swarmtest.ContentOptions{}, []source.FileSpan{{First: 1, Last: 1}, {First: 3, Last: 100}}, []string{"b", "d"}},
		{"NoSuchFile", swarmtest.ContentOptions{}, []source.FileSpan{{First: 4, Last: 100}}, nil},
		// The padding of v1 is in the metadata and counts, the gaps of v2 are not.
		{"Padding", swarmtest.ContentOptions{Padding: true}, []source.FileSpan{{First: 1, Last: 2}}, []string{"b"}},
		{"V2", swarmtest.ContentOptions{Version: swarmtest.V2}, []source.FileSpan{{First: 1, Last: 2}}, []string{"b", "c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Name, tc.o.PieceLength = "content", 32<<10
			tc.o.Files = []swarmtest.File{file("a", 5), file("b", 6), file("c", 7), file("d", 8)}
			c, err := swarmtest.NewContent(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
			if err != nil {
				t.Fatal(err)
			}
			spec.SelectOnly = tc.spans
			tor := addTorrent(t, openEngine(t, engine.Options{}), spec)
			var got []string
			for _, i := range tor.SelectOnly() {
				got = append(got, tor.Info().Files[i].Path[0])
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("selects %q, want %q", got, tc.want)
			}
		})
	}
	magnet := magnetOf(newContent(t, 1<<20, 64<<10))
	magnet.SelectOnly = []source.FileSpan{{First: 0, Last: 0}}
	if got := addTorrent(t, openEngine(t, engine.Options{}), magnet).SelectOnly(); got != nil {
		t.Errorf("selects %v before the metadata is known", got)
	}
}
