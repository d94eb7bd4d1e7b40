package discover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

// TestSearchDeadTrackers: what the first peer costs when the first trackers of a
// tier don't answer, with peers and without.
func TestSearchDeadTrackers(t *testing.T) {
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprintf("Alone=%v", alone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, took := time.Now(), time.Duration(-1)
				s, f := newSearch(t, Options{}, Torrent{
					InfoHash: testHash, Trackers: [][]string{{"http://hangs1/", "http://hangs2/", "http://good/"}},
					Alone: func() bool { return alone && took < 0 },
					Found: func([]string, Via) {
						if took < 0 {
							took = time.Since(begin)
						}
					},
				}, func(ctx context.Context, url string, _ int) (tracker.Answer, error) {
					if strings.Contains(url, "hangs") {
						ctx, cancel := context.WithTimeout(ctx, tracker.Timeout)
						defer cancel()
						<-ctx.Done()
						return tracker.Answer{}, ctx.Err()
					}
					return tracker.Answer{Peers: []netip.AddrPort{ap("1.2.3.4:5")}}, nil
				})
				for i, url := range []string{"http://hangs1/", "http://hangs2/", "http://good/"} { // not shuffled
					s.presence.tiers[0].Entries()[i].URL = url
				}
				stop := run(s)
				time.Sleep(time.Hour)
				stop()
				want := 2 * tracker.Timeout
				if alone {
					want = 2 * tracker.SlowAfter
				}
				if took != want {
					t.Errorf("the first peer came after %v, want %v", took, want)
				}
				if got := len(f.said("http://hangs1/")); got != 1 {
					t.Errorf("a dead tracker was asked %d times though another one answers", got)
				}
			})
		})
	}
}

// TestSearchOverBothNetworks: the first answer counts, the second one's peers come
// when they come, and who answers over neither has failed.
func TestSearchOverBothNetworks(t *testing.T) {
	for _, c := range []struct {
		name       string
		four, six  time.Duration // until the answer; 0: none
		want, said string
	}{
		{"Both", time.Second, 2 * time.Second, "1s [1.2.3.4:5] 2s [[2001:db8::1]:5]", ""},
		{"SixFirst", 3 * time.Second, time.Second, "1s [[2001:db8::1]:5] 3s [1.2.3.4:5]", ""},
		{"NoSix", time.Second, 0, "1s [1.2.3.4:5]", ""},
		{"NoFour", 0, time.Second, "1s [[2001:db8::1]:5]", ""},
		{"Neither", 0, 0, "", "unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var found []string
				s, f := newSearch(t, Options{}, Torrent{
					InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}},
					Found: func(addrs []string, _ Via) { found = append(found, fmt.Sprint(time.Since(begin), " ", addrs)) },
				}, nil)
				var mu sync.Mutex
				stopped := ""
				f.networks = []string{"4", "6"}
				f.announce = func(_ context.Context, _ string, req tracker.Request) (tracker.Answer, error) {
					wait, peer := c.four, "1.2.3.4:5"
					if req.Network == "6" {
						wait, peer = c.six, "[2001:db8::1]:5"
					}
					if req.Event == tracker.Stopped {
						mu.Lock()
						defer mu.Unlock()
						stopped += req.Network
						return tracker.Answer{}, nil
					}
					if time.Sleep(wait); wait == 0 {
						return tracker.Answer{}, errors.New("unreachable")
					}
					return tracker.Answer{Seeds: 1, Peers: []netip.AddrPort{ap(peer)}}, nil
				}
				stop := run(s)
				time.Sleep(4 * time.Second)
				synctest.Wait()
				if got := strings.Join(found, " "); got != c.want {
					t.Errorf("found %q, want %q", got, c.want)
				}
				if got := s.Status()[0].Err; got != c.said {
					t.Errorf("status %q, want %q", got, c.said)
				}
				stop()
				if len(stopped) != 2 && c.said == "" {
					t.Errorf("said goodbye over %q", stopped)
				}
			})
		})
	}
}

// TestSearchCounts: the size of the swarm comes with announces, or else from a
// scrape.
func TestSearchCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSearch(t, Options{}, Torrent{
			InfoHash: testHash, Trackers: [][]string{{"http://told/announce"}, {"http://scraped/announce"}, {"http://bare/x"}},
		}, func(_ context.Context, url string, _ int) (tracker.Answer, error) {
			a := tracker.Answer{Seeds: -1, Leeches: -1}
			if strings.Contains(url, "told") {
				a.Seeds, a.Leeches = 3, 50
			}
			return a, nil
		})
		scraped := map[string]int{}
		var mu sync.Mutex
		f.scrape = func(_ context.Context, url string, hashes []weir.InfoHash) ([]tracker.Counts, error) {
			mu.Lock()
			scraped[url]++
			mu.Unlock()
			if strings.Contains(url, "bare") {
				return nil, weir.ErrNotFound
			}
			return []tracker.Counts{{Seeds: 5, Leeches: 6, Completed: 7}}, nil
		}
		stop := run(s)
		time.Sleep(time.Minute)
		st := s.Status()
		if st[0].Seeds != 3 || st[0].Leeches != 50 || st[1].Seeds != 5 || st[1].Leeches != 6 || st[2].Seeds != -1 {
			t.Errorf("status %+v", st)
		}
		time.Sleep(30 * time.Minute)
		stop()
		if scraped["http://scraped/announce"] != 2 || scraped["http://bare/x"] != 1 || scraped["http://told/announce"] != 0 {
			t.Errorf("scraped %v", scraped)
		}
	})
}

// TestSearchNamedPeers: peers that a tracker knows by name count as if it had told their
// addresses, once they are resolved.
func TestSearchNamedPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var found []string
		s, f := newSearch(t, Options{}, Torrent{
			InfoHash: testHash, Trackers: [][]string{{"http://a/announce"}},
			Found: func(addrs []string, via Via) {
				found = append(found, fmt.Sprint(addrs))
				if via.Source != FromTracker || via.Tracker != "http://a/announce" {
					t.Errorf("via %+v", via)
				}
			},
		}, func(context.Context, string, int) (tracker.Answer, error) {
			return tracker.Answer{Peers: []netip.AddrPort{ap("1.2.3.4:7")}, Named: make([]tracker.NamedPeer, 2), FromLoopback: true}, nil
		})
		f.resolve = func(_ context.Context, named []tracker.NamedPeer, fromLoopback bool) []netip.AddrPort {
			if len(named) != 2 || !fromLoopback {
				t.Errorf("resolves %d names, from loopback %v", len(named), fromLoopback)
			}
			return []netip.AddrPort{ap("5.6.7.8:5"), ap("127.0.0.1:6")}
		}
		stop := run(s)
		time.Sleep(time.Minute)
		stop()
		if got := strings.Join(found, " "); got != "[1.2.3.4:7] [5.6.7.8:5 127.0.0.1:6]" {
			t.Errorf("found %s", got)
		}
	})
}
