package tracker

import (
	"testing"

	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

func FuzzTrackerAnswer(f *testing.F) {
	f.Add([]byte("d8:intervali5e5:peers6:abcdef6:peers60:e"))
	f.Add([]byte("d5:peersld2:ip7:1.2.3.44:porti5eeee"))
	f.Add([]byte("d14:failure reason2:no8:retry in5:nevere"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnnounce(b, false)
		if err == nil {
			checkAnswer(t, a)
		}
		if body, ok, err := parseUDP(b, udpAnnounce, 0, 12); ok && err == nil {
			checkAnswer(t, parseUDPAnnounce(body, ap("1.2.3.4:5").Addr()))
		}
	})
}

func checkAnswer(t *testing.T, a Answer) {
	t.Helper()
	if a.Interval < 0 || a.MinInterval < 0 || a.Seeds < -1 || a.Leeches < -1 || len(a.Peers) > 2*maxPeers {
		t.Fatalf("%+v", a)
	}
	for _, p := range a.Peers {
		if !peeraddr.Usable(p, false) {
			t.Fatalf("peer %v", p)
		}
	}
	if interval, least := intervals(a); least > interval || least < minInterval || interval > maxInterval {
		t.Fatalf("%v, %v", interval, least)
	}
}
