package discover

import (
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
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
			if _, ok := soundKRPC([]byte(c.in)); ok != c.ok {
				t.Errorf("sound: %v", ok)
			}
		})
	}
}

// FuzzKRPC checks that what passes the guard does the library no harm.
func FuzzKRPC(f *testing.F) {
	for _, c := range krpcCases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := soundKRPC(b)
		if !ok {
			return
		}
		var again krpc.Msg
		if err := bencode.Unmarshal(b, &again); err != nil {
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
