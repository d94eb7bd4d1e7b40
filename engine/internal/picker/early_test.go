package picker

import (
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func reading(k *Picker, first, end int) {
	k.Set(k.NewWant(weir.Blocked), []Span{{first, end}})
}

func TestEarlyRequests(t *testing.T) {
	k := New(geometry{2, 64 << 10}, make([]bool, 2), Options{})
	now := time.Unix(1000, 0)
	if list := k.EarlyRequests(3, nil); len(list) > 0 {
		t.Errorf("nobody reads, and %v is guessed", list)
	}
	reading(k, 0, 2)
	taken := map[Block]bool{}
	var all []Block
	for range 3 {
		list := k.EarlyRequests(3, taken)
		for _, b := range list {
			if taken[b] {
				t.Errorf("%v twice", b)
			}
			taken[b] = true
		}
		all = append(all, list...)
	}
	if want := (Block{1, 3}); len(all) != 8 || !slices.Contains(all, want) {
		t.Errorf("guessed %v, want all eight blocks", all)
	}
	a := k.Join(PeerOptions{})
	k.HasAll(a)
	k.Unchoked(now, a)
	if list := k.EarlyRequests(3, nil); len(list) > 0 {
		t.Errorf("somebody serves us, and %v is guessed", list)
	}
}

// TestSentEarly: what becomes of the requests that went out with the handshake.
func TestSentEarly(t *testing.T) {
	const rtt = 50 * time.Millisecond
	sent := time.Unix(1000, 0)
	for _, test := range []struct {
		name    string
		fast    bool
		then    func(k *Picker, a *Peer, asked []Block)
		left    int // of the four requests
		refused bool
	}{
		{"Served", true, func(k *Picker, a *Peer, asked []Block) {
			k.HasAll(a)
			k.Unchoked(sent.Add(rtt), a)
			for _, b := range asked[:3] {
				if d := k.Received(sent.Add(rtt), a, b, nil); !d.Kept {
					panic("a block that was asked for is thrown away")
				}
			}
		}, 1, false},
		{"OtherPieces", true, func(k *Picker, a *Peer, _ []Block) { k.HasThese(a, []bool{false, true}) }, 0, false},
		{"Rejected", true, func(k *Picker, a *Peer, asked []Block) {
			k.HasAll(a)
			for _, b := range asked {
				k.Rejected(a, b)
			}
			k.Unchoked(sent.Add(rtt), a)
		}, 0, false},
		{"UnchokedAtOnce", false, func(k *Picker, a *Peer, _ []Block) { k.HasAll(a); k.Unchoked(sent.Add(rtt), a) }, 4, false},
		{"UnchokedLater", false, func(k *Picker, a *Peer, _ []Block) { k.HasAll(a); k.Unchoked(sent.Add(time.Second), a) }, 0, false},
		{"NotUnchoked", false, func(k *Picker, a *Peer, _ []Block) { k.HasAll(a); k.Pick(sent.Add(time.Second)) }, 0, false},
		{"NotUnchokedYet", false, func(k *Picker, a *Peer, _ []Block) { k.HasAll(a); k.Pick(sent.Add(2 * rtt)) }, 4, false},
		{"Left", true, func(k *Picker, a *Peer, _ []Block) { k.Leave(a) }, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := New(geometry{2, 64 << 10}, make([]bool, 2), Options{})
			reading(k, 0, 1)
			asked := k.EarlyRequests(EarlyBlocks, nil)
			a := k.Join(PeerOptions{Fast: test.fast, RTT: rtt})
			k.SentEarly(a, asked, sent)
			if acts := k.Pick(sent); len(acts) > 0 || a.inFlight != 4 {
				t.Fatalf("%d requests, then %v: they had gone out already", a.inFlight, acts)
			}
			test.then(k, a, asked)
			if err := k.check(); err != nil {
				t.Fatal(err)
			}
			if a.inFlight != test.left {
				t.Errorf("%d requests are live, want %d", a.inFlight, test.left)
			}
			if len(k.peers.list) == 0 || !a.has(0) || a.choking {
				return
			}
			// It can be asked for what is left, and gives it.
			for _, act := range k.Pick(sent.Add(2 * time.Second)) {
				if act.Kind == Request && act.Peer != a {
					t.Errorf("%v", act)
				}
			}
			if want := k.pieces.open[0].missing; a.inFlight != want {
				t.Errorf("%d requests, %d blocks are missing", a.inFlight, want)
			}
		})
	}
}

// TestSentEarlyTooLate: somebody else was asked in the meantime.
func TestSentEarlyTooLate(t *testing.T) {
	now := time.Unix(1000, 0)
	k := New(geometry{1, 64 << 10}, make([]bool, 1), Options{})
	reading(k, 0, 1)
	asked := k.EarlyRequests(EarlyBlocks, nil)
	b := k.Join(PeerOptions{})
	k.HasAll(b)
	k.Unchoked(now, b)
	k.Pick(now)
	a := k.Join(PeerOptions{})
	k.SentEarly(a, asked, now)
	if a.inFlight > 0 {
		t.Errorf("%d blocks are asked for twice", a.inFlight)
	}
	if d := k.Received(now, a, asked[0], nil); !d.Kept {
		t.Error("the first to deliver is turned away")
	}
	if err := k.check(); err != nil {
		t.Fatal(err)
	}
}

// TestRejectsOfAChoke: a choke comes with rejects of all that was asked for (BEP 6).
// The pieces are asked of the same peer when it unchokes us again.
func TestRejectsOfAChoke(t *testing.T) {
	now := time.Unix(1000, 0)
	k := New(geometry{1, 64 << 10}, make([]bool, 1), Options{})
	reading(k, 0, 1)
	a := k.Join(PeerOptions{Fast: true})
	k.HasAll(a)
	for range 3 {
		k.Unchoked(now, a)
		asked := slices.Clone(k.Pick(now))
		if len(asked) != 4 {
			t.Fatalf("%d requests, want 4", len(asked))
		}
		k.Choked(a)
		for _, act := range asked {
			k.Rejected(a, act.Block)
		}
		if err := k.check(); err != nil {
			t.Fatal(err)
		}
	}
}
