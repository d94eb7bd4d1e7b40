package discover

import (
	"reflect"
	"testing"

	"github.com/weirfs/weir"
)

func FuzzPex(f *testing.F) {
	f.Add(PexMessage{Added: pexPeers(3)}.Append(nil))
	f.Add([]byte("d5:added6:abcdef7:added6.0:e"))
	f.Add([]byte("d5:addedi1ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParsePex(b)
		if err != nil {
			return
		}
		if len(m.Added) > 2*maxPexListed || len(m.Dropped) > 2*maxPexListed {
			t.Fatalf("%d added, %d dropped", len(m.Added), len(m.Dropped))
		}
		// What was understood, said again, is understood alike. An IPv4 address in
		// IPv6 form moves to the other list, so that the order may change once.
		once, err := ParsePex(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(once.Added) > maxPexListed || len(once.Dropped) > maxPexListed {
			return
		}
		twice, err := ParsePex(once.Append(nil))
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v\n%v\n%v", once, twice, err)
		}
		var in PexIn
		if got, err := in.Accept(start, ap("9.9.9.9:9"), m); err != nil || len(got) > pexPerKind {
			t.Fatalf("%d accepted, %v", len(got), err)
		}
	})
}

func FuzzLSD(f *testing.F) {
	f.Add(lsdMessage{port: 1, hashes: []weir.InfoHash{testHash}, cookie: "c"}.append(nil, lsdGroup4))
	f.Add([]byte("BT-SEARCH * HTTP/1.1\nPort:1\nInfohash:zz\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseLSD(b)
		if err != nil {
			return
		}
		if m.port < 1 || m.port > 65535 || len(m.hashes) < 1 || len(m.hashes) > maxLSDHashes || len(m.cookie) > maxLSDCookie {
			t.Fatalf("%+v", m)
		}
		again, err := parseLSD(m.append(nil, lsdGroup4))
		if err != nil || again.port != m.port || !reflect.DeepEqual(again.hashes, m.hashes) {
			t.Fatalf("%+v\n%+v\n%v", m, again, err)
		}
	})
}

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

func checkAnswer(t *testing.T, a announceAnswer) {
	t.Helper()
	if a.interval < 0 || a.minInterval < 0 || a.seeds < -1 || a.leeches < -1 || len(a.peers) > 2*maxTrackerPeers {
		t.Fatalf("%+v", a)
	}
	for _, p := range a.peers {
		if !usable(p, false) {
			t.Fatalf("peer %v", p)
		}
	}
	if interval, least := intervals(a); least > interval || least < leastInterval || interval > mostInterval {
		t.Fatalf("%v, %v", interval, least)
	}
}

func FuzzNodeRecord(f *testing.F) {
	f.Add([]byte("d2:id20:aaaaaaaaaaaaaaaaaaaa2:ip4:abcd5:nodes26:abcdefghijklmnopqrstuvwxyze"))
	f.Fuzz(func(t *testing.T, b []byte) {
		book := decodeNodeBook(b, start)
		again := decodeNodeBook(book.encode(start), start)
		if !reflect.DeepEqual(book.answered, again.answered) || book.id != again.id {
			t.Fatal("a record changes when it is read")
		}
	})
}
