package picker

import (
	"testing"
	"time"
)

// besideWeb is a swarm of a web seed of 20 MB/s, which is asked for runs, and of n peers
// of 5 MB/s, with pieces of 4 MiB.
func besideWeb(tb testing.TB, n int) (s *sim, web *simPeer) {
	s = newSim(tb, 64, 4<<20, Options{})
	const rtt = 50 * time.Millisecond
	web = &simPeer{s: s, rtt: rtt, rate: 20e6}
	web.p = s.k.Join(PeerOptions{Ref: web, RTT: rtt, MaxRequests: 1024, Fast: true, Runs: true, QueueTime: time.Second, Start: 256})
	s.k.HasAll(web.p)
	s.k.Unchoked(time.Time{}, web.p)
	s.peers = append(s.peers, web)
	for range n {
		s.join(rtt, 5e6)
	}
	return s, web
}

// TestRunsInAPieceOfARead: of a piece that a read waits for, who is asked for runs gets one,
// and others what lies behind it. A request of a web seed costs a round trip.
func TestRunsInAPieceOfARead(t *testing.T) {
	s, web := besideWeb(t, 4)
	s.stream(0, 8, 4, time.Minute, nil)
	web.asked = nil
	s.read(20, time.Minute)
	if len(web.asked) < 96 || len(web.asked) > 192 {
		t.Errorf("it was asked for %d blocks of 256", len(web.asked))
	}
	for i, b := range web.asked {
		if b != (Block{20, i}) {
			t.Fatalf("it was asked for %v", web.asked)
		}
	}
}

// TestRunsBesidePeers: beside peers that give as much, a web seed keeps nothing for itself
// that they would have to do.
func TestRunsBesidePeers(t *testing.T) {
	s, web := besideWeb(t, 4)
	s.stream(0, 8, 4, time.Minute, nil)
	took, _ := s.stream(8, 40, 6, time.Minute, nil)
	if best := time.Duration(32 * (4 << 20) / 40e6 * float64(time.Second)); took > best*11/10 {
		t.Errorf("took %v, the best possible is %v", took, best)
	}
	if most := web.p.window(100 * time.Millisecond); most > 310 {
		t.Errorf("%d blocks are kept at the web seed", most)
	}
	for _, p := range s.peers[1:] {
		s.k.Leave(p.p)
	}
	s.step()
	if most := web.p.window(100 * time.Millisecond); most < 1200 {
		t.Errorf("%d blocks are kept at the web seed when it is alone", most)
	}
}
