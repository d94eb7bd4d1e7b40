package dht

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	library "github.com/anacrolix/torrent/bencode"
)

const (
	id20 = "2:id20:aaaaaaaaaaaaaaaaaaaa"
	hash = "9:info_hash20:bbbbbbbbbbbbbbbbbbbb"
)

var krpcCases = []struct {
	name, in string
	ok       bool
}{
	{"Ping", "d1:ad" + id20 + "e1:q4:ping1:t2:aa1:y1:qe", true},
	{"GetPeers", "d1:ad" + id20 + hash + "e1:q9:get_peers1:t2:aa1:y1:qe", true},
	{"Answer", "d2:ip6:abcdef1:rd" + id20 + "5:token1:t6:valuesl6:abcdefee1:t2:aa1:y1:re", true},
	{"Error", "d1:eli201e3:bade1:t2:aa1:y1:ee", true},
	{"Announce", "d1:ad" + id20 + hash + "4:porti5e5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe", true},
	{"AnnounceImplied", "d1:ad" + id20 + "12:implied_porti1e" + hash + "5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe", true},

	// These four end a program that hands them to the library.
	{"EmptyValue", "d1:rd" + id20 + "6:valuesl0:ee1:t2:aa1:y1:re", false},
	{"EmptyIP", "d2:ip0:1:rd" + id20 + "e1:t2:aa1:y1:re", false},
	{"AnnounceWithoutArguments", "d1:q13:announce_peer1:t2:aa1:y1:qe", false},
	{"PutWithoutArguments", "d1:q3:put1:t2:aa1:y1:qe", false},

	{"OddValue", "d1:rd" + id20 + "6:valuesl3:abcee1:t2:aa1:y1:re", false},
	{"ValuesNoList", "d1:rd" + id20 + "6:values6:abcdefe1:t2:aa1:y1:re", false},
	{"NegativePort", "d1:ad" + id20 + hash + "4:porti-5e5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe", false},
	{"NoPort", "d1:ad" + id20 + hash + "5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe", false},
	{"UnknownQuery", "d1:ad" + id20 + "e1:q5:voted1:t2:aa1:y1:qe", false},
	{"NoTransaction", "d1:ad" + id20 + "e1:q4:ping1:y1:qe", false},
	{"AnswerWithoutBody", "d1:t2:aa1:y1:re", false},
	{"UnknownType", "d1:t2:aa1:y1:xe", false},
	{"ClaimedLength", "d1:ad2:id99999999:aa", false},
	{"Trailing", "d1:ad" + id20 + "e1:q4:ping1:t2:aa1:y1:qexxx", false},
	{"ShortNodes", "d1:rd" + id20 + "5:nodes5:abcdee1:t2:aa1:y1:re", false},
	{"Deep", "d1:t2:aa1:x" + strings.Repeat("l", 5000) + strings.Repeat("e", 5000) + "1:y1:re", false},
	{"NoDictionary", "le", false},
	{"Empty", "", false},
}

func TestSoundKRPC(t *testing.T) {
	for _, c := range krpcCases {
		t.Run(c.name, func(t *testing.T) {
			if _, ok := parseSound([]byte(c.in)); ok != c.ok {
				t.Errorf("sound: %v", ok)
			}
		})
	}
}

func TestRefusalOf(t *testing.T) {
	const unknown, wrong = "d1:eli204e14:Method Unknowne1:t2:aa1:y1:ee", "d1:eli203e14:Protocol Errore1:t2:aa1:y1:ee"
	for _, c := range []struct{ in, want string }{
		{"d1:ad" + id20 + "e1:q5:voted1:t2:aa1:y1:qe", unknown},
		{"d1:ad" + id20 + "6:target20:bbbbbbbbbbbbbbbbbbbbe1:q17:sample_infohashes1:t2:aa1:y1:qe", unknown},
		{"d1:ad" + id20 + hash + "4:porti-5e5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe", wrong},
		{"d1:q5:voted1:t2:aa1:y1:qe", ""},           // shorter than the answer
		{"d1:ad" + id20 + "e1:q5:voted1:y1:qe", ""}, // nothing to answer to
		{"d1:ad" + id20 + "e1:q5:voted1:t33:" + strings.Repeat("t", 33) + "1:y1:qe", ""},
		{"d1:ad" + id20 + "e1:qi5e1:t2:aa1:y1:qe", ""},       // no method
		{"d1:rd" + id20 + "6:valuesl0:ee1:t2:aa1:y1:re", ""}, // an answer
		{"d1:eli204e14:Method Unknowne1:t2:aa1:y1:ee", ""},   // an error: two nodes would go on for ever
		{"d1:ad" + id20 + "e1:q5:voted1:t2:aa1:y1:qexxx", ""},
		{"", ""},
	} {
		if got := string(refusalOf([]byte(c.in))); got != c.want {
			t.Errorf("%q is answered %q, want %q", c.in, got, c.want)
		}
	}
}

// TestNodeAnswersUnknownQueries: who asks what we don't know need not wait, but a
// flood is not answered with a flood.
func TestNodeAnswersUnknownQueries(t *testing.T) {
	n := New(Options{Port: port(4001), Addr: "127.0.0.1:0", ListenPacket: net.ListenPacket})
	if err := n.Join(); err != nil {
		t.Fatal(err)
	}
	defer n.Leave()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", n.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const many = 100
	query := "d1:ad" + id20 + "e1:q%d:%s1:t%d:%s1:y1:qe"
	for i := range many {
		if _, err := fmt.Fprintf(conn, query, 5, "voted", 3, fmt.Sprintf("%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fprintf(conn, query, 4, "ping", 4, "last"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	for answers := 0; ; answers++ {
		buf := make([]byte, 1500)
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(buf[:k]), "4:last") { // it came after all others
			if answers == 0 || answers == many {
				t.Errorf("%d of %d were answered", answers, many)
			}
			return
		}
		if want := "d1:eli204e14:Method Unknowne1:t3:000"; answers == 0 && !strings.HasPrefix(string(buf[:k]), want) {
			t.Errorf("answer %q, want %q", buf[:k], want)
		}
	}
}

// TestReadOnlyAnswersNothing (BEP 43).
func TestReadOnlyAnswersNothing(t *testing.T) {
	for p, want := range map[int]int{0: 0, 4001: 1} {
		tap := &wireTap{}
		n := New(Options{Port: port(p), Addr: "127.0.0.1:0", ListenPacket: tap.listen})
		if err := n.Join(); err != nil {
			t.Fatal(err)
		}
		n.guard.refuse([]byte("d1:ad"+id20+"e1:q5:voted1:t2:aa1:y1:qe"), ap("127.0.0.1:9"))
		if got := tap.packets(t); got != want {
			t.Errorf("port %d: %d answers, want %d", p, got, want)
		}
		n.Leave()
	}
}

// FuzzKRPC checks that what passes the guard does the library no harm.
func FuzzKRPC(f *testing.F) {
	for _, c := range krpcCases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseSound(b)
		if !ok {
			return
		}
		var again krpc.Msg
		if err := library.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if m.Y == "q" && m.A == nil || m.Y == "r" && m.R == nil {
			t.Fatal("without a body")
		}
		if m.R != nil {
			for _, v := range m.R.Values {
				if len(v.IP) != 4 && len(v.IP) != 16 {
					t.Fatalf("address %v", v)
				}
			}
			namedNodes(reply{from: node{addr: ap("1.2.3.4:5")}, ret: m.R})
		}
	})
}
