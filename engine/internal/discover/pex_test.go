package discover

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func pexPeers(n int) (out []PexPeer) {
	for i := range n {
		out = append(out, PexPeer{Addr: ap(fmt.Sprintf("10.0.%d.%d:6881", i/250, i%250+1)), Flags: PexOutgoing})
	}
	return out
}

func TestPexMessage(t *testing.T) {
	m := PexMessage{
		Added: []PexPeer{
			{ap("1.2.3.4:258"), PexSeed},
			{ap("[2001:db8::1]:6881"), PexOutgoing | PexEncryption},
		},
		Dropped: []netip.AddrPort{ap("5.6.7.8:1"), ap("[2001:db8::2]:2")},
	}
	b := m.Append(nil)
	want := "d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x026:added618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1" +
		"8:added6.f1:\x117:dropped6:\x05\x06\x07\x08\x00\x018:dropped618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x02e"
	if string(b) != want {
		t.Errorf("encoded\n%q, want\n%q", b, want)
	}
	got, err := ParsePex(b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("decoded %v, %v", got, err)
	}
}

func TestParsePexTolerance(t *testing.T) {
	cases := []struct {
		name, in       string
		added, dropped int
		ok             bool
	}{
		{"Empty", "de", 0, 0, true},
		{"NoFlags", "d5:added6:abcdefe", 1, 0, true},
		{"Remainder", "d5:added8:abcdefghe", 1, 0, true},
		{"WrongType", "d5:addedi5e7:droppedlee", 0, 0, true},
		{"NotADictionary", "le", 0, 0, false},
		{"Truncated", "d5:added6:abc", 0, 0, false},
		{"ClaimedLength", "d5:added99999999999:abce", 0, 0, false},
		{"Deep", "d5:added" + string(make([]byte, 0)) + "llllllllllllllllllllllllllllleeeeeeeeeeeeeeeeeeeeeeeeeeeeee", 0, 0, false},
		{"Long", "d5:added" + fmt.Sprint(maxPexBytes) + ":" + string(make([]byte, maxPexBytes)) + "e", 0, 0, false},
		{"Many", "d5:added" + fmt.Sprint(6*1000) + ":" + string(make([]byte, 6*1000)) + "e", maxPexListed, 0, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParsePex([]byte(c.in))
			if (err == nil) != c.ok || err != nil && !errors.Is(err, weir.ErrInvalid) {
				t.Fatalf("err %v", err)
			}
			if len(m.Added) != c.added || len(m.Dropped) != c.dropped {
				t.Errorf("%d added, %d dropped", len(m.Added), len(m.Dropped))
			}
		})
	}
}

func TestPexOut(t *testing.T) {
	var o PexOut
	to := ap("10.0.0.1:6881") // one of the peers
	peers := pexPeers(121)
	total := 0
	for i, want := range []int{50, 50, 20} {
		now := start.Add(time.Duration(i) * pexPause)
		m, ok := o.Next(now, to, peers)
		if !ok || len(m.Added) != want || len(m.Dropped) != 0 {
			t.Fatalf("message %d: %v, %d added, %d dropped", i, ok, len(m.Added), len(m.Dropped))
		}
		for _, p := range m.Added {
			if p.Addr == to {
				t.Error("the peer is told of itself")
			}
			if p.Flags != PexOutgoing {
				t.Error("flags are lost")
			}
		}
		total += len(m.Added)
		if _, ok := o.Next(now.Add(64*time.Second), to, append(peers, pexPeers(200)...)); ok {
			t.Fatal("a second message too early")
		}
	}
	now := start.Add(time.Hour)
	if _, ok := o.Next(now, to, peers); ok {
		t.Error("an empty message")
	}
	m, ok := o.Next(now, to, append([]PexPeer{
		{Addr: ap("0.0.0.0:1")}, {Addr: ap("127.0.0.1:5")}, {Addr: ap("9.9.9.9:0")}, {Addr: ap("[::ffff:9.9.9.9]:9")},
	}, peers[:41]...))
	if !ok || len(m.Added) != 1 || m.Added[0].Addr != ap("9.9.9.9:9") || len(m.Dropped) != 50 {
		t.Errorf("%v, added %v, %d dropped", ok, m.Added, len(m.Dropped))
	}
	// Dropped ones that come back are told again.
	m, _ = o.Next(now.Add(pexPause), to, peers)
	if len(m.Added) != 50 || len(m.Dropped) != 1 {
		t.Errorf("%d added, %d dropped", len(m.Added), len(m.Dropped))
	}
}

func TestPexIn(t *testing.T) {
	from := ap("10.9.9.9:6881")
	t.Run("Bounds", func(t *testing.T) {
		var in PexIn
		all := 0
		for i := range 20 {
			got, err := in.Accept(start.Add(time.Duration(i)*time.Minute), from, PexMessage{Added: pexPeers(200)})
			if err != nil || len(got) > pexPerKind {
				t.Fatalf("%d peers, %v", len(got), err)
			}
			all += len(got)
		}
		if all != pexBelieved {
			t.Errorf("believed %d", all)
		}
	})
	t.Run("Senseless", func(t *testing.T) {
		var in PexIn
		got, _ := in.Accept(start, from, PexMessage{Added: []PexPeer{
			{Addr: from}, {Addr: ap("127.0.0.1:22")}, {Addr: ap("0.1.2.3:5")}, {Addr: ap("224.0.0.1:5")},
			{Addr: ap("255.255.255.255:5")}, {Addr: ap("8.8.8.8:0")}, {Addr: ap("[::]:5")}, {Addr: ap("[::1]:5")},
			{Addr: ap("[ff02::1]:5")}, {Addr: ap("8.8.8.8:5")}, {Addr: ap("8.8.8.8:5")},
		}})
		if len(got) != 1 || got[0].Addr != ap("8.8.8.8:5") {
			t.Errorf("accepted %v", got)
		}
	})
	t.Run("Loopback", func(t *testing.T) {
		var in PexIn
		if got, _ := in.Accept(start, ap("127.0.0.1:9"), PexMessage{Added: []PexPeer{{Addr: ap("127.0.0.2:5")}}}); len(got) != 1 {
			t.Error("loopback may tell of loopback")
		}
	})
	t.Run("Flood", func(t *testing.T) {
		var in PexIn
		for i := range 1 + pexForgiven {
			got, err := in.Accept(start, from, PexMessage{Added: pexPeers(1)})
			if err != nil || i > 0 && len(got) > 0 {
				t.Fatalf("message %d: %v, %v", i, got, err)
			}
		}
		if _, err := in.Accept(start, from, PexMessage{}); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("err %v", err)
		}
		if got, err := in.Accept(start.Add(50*time.Second), from, PexMessage{Added: pexPeers(1)}); err != nil || len(got) != 1 {
			t.Errorf("a little early: %v, %v", got, err)
		}
	})
}
