package remotehosts_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/engine/swarmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var hosts = []netip.Addr{netip.MustParseAddr("127.0.71.10"), netip.MustParseAddr("127.0.71.11"), netip.MustParseAddr("127.0.71.12")}

// open opens remote hosts on loopback with a content on disk.
func open(t *testing.T, o remotehosts.Options) (*remotehosts.Client, remotehosts.Seeding, *swarmtest.Content) {
	t.Helper()
	o.Data, o.Hosts, o.Tracker = t.TempDir(), hosts, netip.MustParseAddr("127.0.71.9")
	c, stop, err := remotehosts.Local(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	spec := remotehosts.One("content.bin", 64<<10, 1<<20, 5)
	if err := spec.Write(o.Data); err != nil {
		t.Fatal(err)
	}
	content, err := spec.Content()
	if err != nil {
		t.Fatal(err)
	}
	torrent := filepath.Join(t.TempDir(), "t.torrent")
	if err := os.WriteFile(torrent, content.Torrent(swarmtest.Hints{}), 0o600); err != nil {
		t.Fatal(err)
	}
	return c, remotehosts.Seeding{Spec: spec, Torrent: torrent, Hosts: []int{0, 1}}, content
}

// TestSeeding lets each kind of seeder serve the whole content, and looks at what
// it says of that.
func TestSeeding(t *testing.T) {
	for _, c := range []struct {
		name    string
		options remotehosts.Options
		delay   time.Duration
	}{
		{name: "own"},
		{name: "own behind relays", options: remotehosts.Options{Relayed: true}, delay: 20 * time.Millisecond},
		{name: "libtorrent", options: remotehosts.Options{Libtorrent: true}},
		{name: "libtorrent behind relays", options: remotehosts.Options{Libtorrent: true, Relayed: true}, delay: 20 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, ok := remotehosts.LibtorrentVersion(); c.options.Libtorrent && !ok {
				t.Fatal("python3-libtorrent is missing: make test installs it")
			}
			ctx := t.Context()
			client, seeding, content := open(t, c.options)
			seeding.Delay = c.delay
			peers, err := client.Start(ctx, seeding)
			if err != nil {
				t.Fatal(err)
			}
			if len(peers) != 2 {
				t.Fatalf("peers %v", peers)
			}
			fetch(t, ctx, peers, content, c.delay)
			sent, err := client.Settled(ctx, 1300*time.Millisecond)
			if err != nil || sent != content.Info().Length {
				t.Errorf("%d bytes sent, want %d; %v", sent, content.Info().Length, err)
			}
			if err := raw.HTTP(ctx, []string{client.FileURL(0, "content.bin"), client.FileURL(1, "content.bin")}, content.Info().Length); err != nil {
				t.Error(err)
			}

			// One goes, another one comes.
			if err := client.Leave(ctx, 0); err != nil {
				t.Fatal(err)
			}
			if err := client.Join(ctx, 2); err != nil {
				t.Fatal(err)
			}
			if s, err := raw.DialAll(ctx, peers[:1], content.InfoHash()); err == nil {
				s.Close()
				t.Error("a host that left answers")
			}
			fetch(t, ctx, []string{hosts[2].String() + ":" + remotehosts.SeederPort}, content, c.delay)

			// A frozen one accepts, because the system does, and says nothing.
			if err := client.Freeze(ctx, 1); err != nil {
				t.Fatal(err)
			}
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			if s, err := raw.DialAll(short, peers[1:], content.InfoHash()); err == nil {
				if s.Piece(short, content.Info(), 0) == nil {
					t.Error("a frozen host sends")
				}
				s.Close()
			}
			// And a new run has new seeders.
			if peers, err = client.Start(ctx, seeding); err != nil {
				t.Fatal(err)
			}
			fetch(t, ctx, peers, content, c.delay)
			if err := client.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// fetch takes all pieces, and then one more, of which the delay is seen.
func fetch(t *testing.T, ctx context.Context, peers []string, content *swarmtest.Content, delay time.Duration) {
	t.Helper()
	s, err := raw.DialAll(ctx, peers, content.InfoHash())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info := content.Info()
	begin := time.Now()
	if err := s.Piece(ctx, info, 0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("a piece came after %v, less than a round trip", took)
	}
	if err := s.Stream(ctx, info, 1, info.NumPieces()); err != nil {
		t.Fatal(err)
	}
}

// TestRequests looks at what own seeders tell of requests, and at liars.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	client, seeding, content := open(t, remotehosts.Options{Libtorrent: true})
	seeding.Own, seeding.Corrupt = true, []int{0}
	peers, err := client.Start(ctx, seeding)
	if err != nil {
		t.Fatal(err)
	}
	for i, corrupt := range []bool{true, false} {
		l, err := swarmtest.DialLeech(ctx, peers[i], content.InfoHash(), swarmtest.LeechOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Fetch(ctx, 3, 0, 16<<10)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, len(b))
		if _, err := content.ReadAt(want, 3*content.Info().PieceLength); err != nil {
			t.Fatal(err)
		}
		if right := string(b) == string(want); right == corrupt {
			t.Errorf("host %d sends right bytes: %v", i, right)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	r, err := client.Requests(ctx)
	if err != nil || r.Count != 2 || r.Bytes != 32<<10 || r.Blocks != 2 || r.Last <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
