package pex

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func somePeers(n int) (out []Peer) {
	for i := range n {
		out = append(out, Peer{Addr: ap(fmt.Sprintf("10.0.%d.%d:6881", i/250, i%250+1)), Flags: Outgoing})
	}
	return out
}

func TestPexMessage(t *testing.T) {
	m := Message{
		Added: []Peer{
			{ap("1.2.3.4:258"), Seed},
			{ap("[2001:db8::1]:6881"), Outgoing | Encryption},
		},
		Dropped: []netip.AddrPort{ap("5.6.7.8:1"), ap("[2001:db8::2]:2")},
	}
	b := m.Append(nil)
	want := "d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x026:added618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1" +
		"8:added6.f1:\x117:dropped6:\x05\x06\x07\x08\x00\x018:dropped618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x02e"
	if string(b) != want {
		t.Errorf("encoded\n%q, want\n%q", b, want)
	}
	got, err := Parse(b)
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
		{"Long", "d5:added" + fmt.Sprint(maxBytes) + ":" + string(make([]byte, maxBytes)) + "e", 0, 0, false},
		{"Many", "d5:added" + fmt.Sprint(6*1000) + ":" + string(make([]byte, 6*1000)) + "e", maxListed, 0, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.in))
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
	var o Sender
	to := ap("10.0.0.1:6881") // one of the peers
	peers := somePeers(121)
	total := 0
	for i, want := range []int{50, 50, 20} {
		now := start.Add(time.Duration(i) * sendInterval)
		m, ok := o.Next(now, to, peers)
		if !ok || len(m.Added) != want || len(m.Dropped) != 0 {
			t.Fatalf("message %d: %v, %d added, %d dropped", i, ok, len(m.Added), len(m.Dropped))
		}
		for _, p := range m.Added {
			if p.Addr == to {
				t.Error("the peer is told of itself")
			}
			if p.Flags != Outgoing {
				t.Error("flags are lost")
			}
		}
		total += len(m.Added)
		if _, ok := o.Next(now.Add(64*time.Second), to, append(peers, somePeers(200)...)); ok {
			t.Fatal("a second message too early")
		}
	}
	now := start.Add(time.Hour)
	if _, ok := o.Next(now, to, peers); ok {
		t.Error("an empty message")
	}
	m, ok := o.Next(now, to, append([]Peer{
		{Addr: ap("0.0.0.0:1")}, {Addr: ap("127.0.0.1:5")}, {Addr: ap("9.9.9.9:0")}, {Addr: ap("[::ffff:9.9.9.9]:9")},
	}, peers[:41]...))
	if !ok || len(m.Added) != 1 || m.Added[0].Addr != ap("9.9.9.9:9") || len(m.Dropped) != 50 {
		t.Errorf("%v, added %v, %d dropped", ok, m.Added, len(m.Dropped))
	}
	// Dropped ones that come back are told again.
	m, _ = o.Next(now.Add(sendInterval), to, peers)
	if len(m.Added) != 50 || len(m.Dropped) != 1 {
		t.Errorf("%d added, %d dropped", len(m.Added), len(m.Dropped))
	}
}

func TestPexIn(t *testing.T) {
	from := ap("10.9.9.9:6881")
	t.Run("Bounds", func(t *testing.T) {
		var in Receiver
		all := 0
		for i := range 20 {
			got, err := in.Accept(start.Add(time.Duration(i)*time.Minute), from, Message{Added: somePeers(200)})
			if err != nil || len(got) > perMessage {
				t.Fatalf("%d peers, %v", len(got), err)
			}
			all += len(got)
		}
		if all != maxAccepted {
			t.Errorf("believed %d", all)
		}
	})
	t.Run("Senseless", func(t *testing.T) {
		var in Receiver
		got, _ := in.Accept(start, from, Message{Added: []Peer{
			{Addr: from}, {Addr: ap("127.0.0.1:22")}, {Addr: ap("0.1.2.3:5")}, {Addr: ap("224.0.0.1:5")},
			{Addr: ap("255.255.255.255:5")}, {Addr: ap("8.8.8.8:0")}, {Addr: ap("[::]:5")}, {Addr: ap("[::1]:5")},
			{Addr: ap("[ff02::1]:5")}, {Addr: ap("8.8.8.8:5")}, {Addr: ap("8.8.8.8:5")},
		}})
		if len(got) != 1 || got[0].Addr != ap("8.8.8.8:5") {
			t.Errorf("accepted %v", got)
		}
	})
	t.Run("Loopback", func(t *testing.T) {
		var in Receiver
		if got, _ := in.Accept(start, ap("127.0.0.1:9"), Message{Added: []Peer{{Addr: ap("127.0.0.2:5")}}}); len(got) != 1 {
			t.Error("loopback may tell of loopback")
		}
	})
	t.Run("Flood", func(t *testing.T) {
		var in Receiver
		for i := range 1 + maxTooEarly {
			got, err := in.Accept(start, from, Message{Added: somePeers(1)})
			if err != nil || i > 0 && len(got) > 0 {
				t.Fatalf("message %d: %v, %v", i, got, err)
			}
		}
		if _, err := in.Accept(start, from, Message{}); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("err %v", err)
		}
		if got, err := in.Accept(start.Add(50*time.Second), from, Message{Added: somePeers(1)}); err != nil || len(got) != 1 {
			t.Errorf("a little early: %v, %v", got, err)
		}
	})
}

func FuzzPex(f *testing.F) {
	f.Add(Message{Added: somePeers(3)}.Append(nil))
	f.Add([]byte("d5:added6:abcdef7:added6.0:e"))
	f.Add([]byte("d5:addedi1ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if len(m.Added) > 2*maxListed || len(m.Dropped) > 2*maxListed {
			t.Fatalf("%d added, %d dropped", len(m.Added), len(m.Dropped))
		}
		// What was understood, said again, is understood alike. An IPv4 address in
		// IPv6 form moves to the other list, so that the order may change once.
		once, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(once.Added) > maxListed || len(once.Dropped) > maxListed {
			return
		}
		twice, err := Parse(once.Append(nil))
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v\n%v\n%v", once, twice, err)
		}
		var in Receiver
		if got, err := in.Accept(start, ap("9.9.9.9:9"), m); err != nil || len(got) > perMessage {
			t.Fatalf("%d accepted, %v", len(got), err)
		}
	})
}
