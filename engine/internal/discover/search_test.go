package discover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

var testHash = weir.InfoHash{1, 2, 3}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// heardAnnounce is an announce that a fake tracker got.
type heardAnnounce struct {
	at    time.Duration // since the beginning
	url   string
	event tracker.Event
	req   tracker.Request
}

// fakeTrackers answers inside a synctest bubble, without a network.
type fakeTrackers struct {
	begin  time.Time
	answer func(ctx context.Context, url string, n int) (tracker.Answer, error)

	// What a test may change.
	networks []string
	announce func(ctx context.Context, url string, req tracker.Request) (tracker.Answer, error)
	scrape   func(ctx context.Context, url string, hashes []weir.InfoHash) ([]tracker.Counts, error)
	resolve  func(ctx context.Context, named []tracker.NamedPeer, fromLoopback bool) []netip.AddrPort

	mu    sync.Mutex
	heard []heardAnnounce
}

var _ trackers = (*fakeTrackers)(nil)

func (f *fakeTrackers) Networks(context.Context, string) []string { return f.networks }

func (f *fakeTrackers) Resolve(ctx context.Context, named []tracker.NamedPeer, fromLoopback bool) []netip.AddrPort {
	return f.resolve(ctx, named, fromLoopback)
}

func (f *fakeTrackers) Scrape(ctx context.Context, url string, hashes []weir.InfoHash) ([]tracker.Counts, error) {
	if f.scrape == nil {
		return nil, weir.ErrNotFound
	}
	return f.scrape(ctx, url, hashes)
}

func (f *fakeTrackers) Announce(ctx context.Context, url string, req tracker.Request) (tracker.Answer, error) {
	if f.announce != nil {
		return f.announce(ctx, url, req)
	}
	f.mu.Lock()
	f.heard = append(f.heard, heardAnnounce{time.Since(f.begin), url, req.Event, req})
	n := len(f.heard)
	f.mu.Unlock()
	return f.answer(ctx, url, n)
}

// said lists the announces to url, or to all.
func (f *fakeTrackers) said(url string) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.heard {
		if url == "" || h.url == url {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%v %s", h.at.Round(time.Second), h.event)))
		}
	}
	return out
}

func newSearch(t *testing.T, opt Options, tor Torrent, answer func(context.Context, string, int) (tracker.Answer, error)) (*Search, *fakeTrackers) {
	t.Helper()
	d, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	f := &fakeTrackers{begin: time.Now(), answer: answer, networks: []string{""}}
	d.trackers = f
	return d.Search(tor), f
}

// run starts the search and returns what ends it and waits.
func run(s *Search) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

func TestSearchLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Int64
		left.Store(100)
		var found []string
		s, f := newSearch(t, Options{PeerID: [20]byte{'p'}, Port: func() int { return 4242 }}, Torrent{
			InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}}, Left: left.Load,
			Downloaded: func() int64 { return 11 }, Uploaded: func() int64 { return 22 },
			Found: func(addrs []string, via Via) { found = append(found, fmt.Sprint(addrs, via)) },
		}, func(context.Context, string, int) (tracker.Answer, error) {
			return tracker.Answer{Interval: 30 * time.Minute, MinInterval: 5 * time.Minute, Seeds: 3, Leeches: 4,
				Peers: []netip.AddrPort{ap("1.2.3.4:5")}, TrackerID: "tid"}, nil
		})
		stop := run(s)
		time.Sleep(31 * time.Minute) // started at 0, again at 30 min
		left.Store(0)
		s.Poke() // completed at 31 min, whatever the interval
		time.Sleep(10 * time.Second)
		s.Poke() // more peers, as soon as the min interval allows: 36 min
		time.Sleep(10 * time.Minute)
		st := s.Status()
		stop()
		want := []string{"0s started", "30m0s", "31m0s completed", "36m0s", "41m10s stopped"}
		if got := f.said(""); !slices.Equal(got, want) {
			t.Errorf("announced %q\nwant      %q", got, want)
		}
		r := f.heard[1].req
		if r.Port != 4242 || r.Downloaded != 11 || r.Uploaded != 22 || r.Left != 100 || r.TrackerID != "tid" || r.NumWant != wantedPeers || r.Hash != testHash || r.PeerID[0] != 'p' {
			t.Errorf("request %+v", r)
		}
		if len(found) != 4 || found[0] != "[1.2.3.4:5] {tracker http://a/announce 0102030000000000000000000000000000000000}" {
			t.Errorf("found %q", found)
		}
		if len(st) != 1 || st[0].Tracker != "http://a/announce" || st[0].Seeds != 3 || st[0].Leeches != 4 || st[0].Peers != 1 ||
			st[0].Err != "" || st[0].Next.Sub(f.begin) != 66*time.Minute || st[0].Answered.Sub(f.begin) != 36*time.Minute {
			t.Errorf("status %+v", st)
		}
	})
}

func TestSearchTiersSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSearch(t, Options{}, Torrent{
			InfoHash: testHash, InfoHashV2: [32]byte{7},
			Trackers: [][]string{{"http://hangs/announce"}, {"http://broken/announce"}, {"http://good/announce"}, {}},
		}, func(ctx context.Context, url string, _ int) (tracker.Answer, error) {
			switch {
			case strings.Contains(url, "hangs"):
				ctx, cancel := context.WithTimeout(ctx, tracker.Timeout)
				defer cancel()
				<-ctx.Done()
				return tracker.Answer{}, ctx.Err()
			case strings.Contains(url, "broken"):
				return tracker.Answer{}, errors.New("broken")
			}
			return tracker.Answer{}, nil
		})
		stop := run(s)
		time.Sleep(time.Second)
		// A hybrid torrent is announced under both hashes (BEP 52), at once.
		if got := f.said("http://good/announce"); !slices.Equal(got, []string{"0s started", "0s started"}) {
			t.Errorf("the good tracker heard %q", got)
		}
		hashes := map[weir.InfoHash]bool{}
		f.mu.Lock()
		for _, h := range f.heard {
			hashes[h.req.Hash] = true
		}
		f.mu.Unlock()
		if len(hashes) != 2 || !hashes[testHash] || !hashes[weir.InfoHash{7}] {
			t.Errorf("announced as %v", hashes)
		}
		time.Sleep(12 * time.Hour)
		// Broken for half a day: backoff ends at half an hour, spread by a quarter.
		if n := len(f.said("http://broken/announce")) / 2; n < 20 || n > 50 {
			t.Errorf("the broken tracker was asked %d times in 12 h", n)
		}
		if n := len(f.said("http://good/announce")) / 2; n != 25 {
			t.Errorf("the good tracker was asked %d times in 12 h", n)
		}
		stop()
		for _, url := range []string{"http://broken/announce", "http://hangs/announce"} {
			if got := f.said(url); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "stopped") }) {
				t.Errorf("%s, which never answered, was told that we leave", url)
			}
		}
	})
}

func TestSearchGoodbyeIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSearch(t, Options{}, Torrent{InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}, {"http://b/announce"}}},
			func(ctx context.Context, _ string, n int) (tracker.Answer, error) {
				if n > 2 { // both answered once, and then hang
					<-ctx.Done()
					return tracker.Answer{}, ctx.Err()
				}
				return tracker.Answer{}, nil
			})
		stop := run(s)
		time.Sleep(time.Minute)
		before := time.Now()
		stop()
		if took := time.Since(before); took > goodbyeTimeout {
			t.Errorf("leaving took %v", took)
		}
		if got := f.said(""); !slices.Equal(got, []string{"0s started", "0s started", "1m0s stopped", "1m0s stopped"}) {
			t.Errorf("announced %q", got)
		}
	})
}

func TestSearchEndsWithDiscoverer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSearch(t, Options{}, Torrent{InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}}},
			func(context.Context, string, int) (tracker.Answer, error) { return tracker.Answer{}, nil })
		done := make(chan struct{})
		go func() { defer close(done); s.Run(context.Background()) }()
		time.Sleep(time.Second)
		s.d.Close()
		<-done
		if got := f.said(""); !slices.Equal(got, []string{"0s started", "1s stopped"}) {
			t.Errorf("announced %q", got)
		}
		s.d.Close()
		s.d.Find(context.Background(), Torrent{Trackers: [][]string{{"http://late/announce"}}}) // returns
		if got := f.said("http://late/announce"); len(got) > 0 {
			t.Errorf("announced %q after Close", got)
		}
	})
}

func TestSearchRefusalIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		s, _ := newSearch(t, Options{Log: slog.New(slog.NewTextHandler(&text, nil))}, Torrent{
			InfoHash: testHash, Trackers: [][]string{{"https://user:hunter22@t.example/0123456789abcdef/announce?key=secret99"}},
		}, func(context.Context, string, int) (tracker.Answer, error) {
			return tracker.Answer{}, &tracker.Refusal{Reason: "not registered"}
		})
		stop := run(s)
		time.Sleep(24 * time.Hour)
		st := s.Status()
		stop()
		if n := strings.Count(text.String(), "not registered"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, &text)
		}
		for _, secret := range []string{"hunter22", "0123456789abcdef", "secret99"} {
			if strings.Contains(text.String(), secret) || strings.Contains(fmt.Sprint(st), secret) {
				t.Errorf("%q is shown", secret)
			}
		}
		if !strings.Contains(st[0].Err, "not registered") || st[0].Tracker != "https://t.example/…/announce?…" {
			t.Errorf("status %+v", st[0])
		}
	})
}

func TestSearchWithoutMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSearch(t, Options{}, Torrent{
			InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}}, WantMore: func() bool { return false },
		}, func(context.Context, string, int) (tracker.Answer, error) { return tracker.Answer{}, nil })
		stop := run(s)
		time.Sleep(10 * time.Minute)
		s.Poke()
		time.Sleep(10 * time.Minute)
		stop()
		if got := f.said(""); !slices.Equal(got, []string{"0s started", "20m0s stopped"}) || f.heard[0].req.NumWant != 0 {
			t.Errorf("announced %q, numwant %d", got, f.heard[0].req.NumWant)
		}
	})
}

// TestSearchGoroutines: while it waits, a torrent has the goroutine of Run and
// no other.
func TestSearchGoroutines(t *testing.T) {
	const torrents = 100
	s, f := newSearch(t, Options{}, Torrent{}, func(context.Context, string, int) (tracker.Answer, error) {
		return tracker.Answer{Peers: []netip.AddrPort{ap("1.2.3.4:5")}}, nil
	})
	base := runtime.NumGoroutine()
	var found atomic.Int32
	for i := range torrents {
		stop := run(s.d.Search(Torrent{
			InfoHash: weir.InfoHash{1, byte(i)}, Trackers: [][]string{{"http://a/announce"}, {"http://b/announce"}},
			Found: func([]string, Via) { found.Add(1) },
		}))
		defer stop()
	}
	eventually(t, "all were announced", func() bool { return found.Load() == 2*torrents })
	eventually(t, "all wait", func() bool { return runtime.NumGoroutine() <= base+torrents })
	if n := len(f.said("")); n != 2*torrents {
		t.Errorf("%d announces", n)
	}
}

func TestHashes(t *testing.T) {
	v2 := [32]byte{9, 9, 20: 5}
	cases := []struct {
		name string
		t    Torrent
		want []weir.InfoHash
	}{
		{"V1", Torrent{InfoHash: testHash}, []weir.InfoHash{testHash}},
		{"Hybrid", Torrent{InfoHash: testHash, InfoHashV2: v2}, []weir.InfoHash{testHash, {9, 9}}},
		{"V2Only", Torrent{InfoHash: weir.InfoHash{9, 9}, InfoHashV2: v2}, []weir.InfoHash{{9, 9}}},
	}
	for _, c := range cases {
		if got := c.t.hashes(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
