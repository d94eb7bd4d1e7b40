package discover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func TestLSDMessage(t *testing.T) {
	m := lsdMessage{port: 6881, hashes: []weir.InfoHash{{0xab}, {0xcd}}, cookie: "c1"}
	b := m.append(nil, lsdGroup4)
	want := "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n" +
		"Infohash: ab" + strings.Repeat("0", 38) + "\r\nInfohash: cd" + strings.Repeat("0", 38) + "\r\ncookie: c1\r\n\r\n\r\n"
	if string(b) != want {
		t.Errorf("%q", b)
	}
	got, err := parseLSD(b)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(m) {
		t.Errorf("%v, %v", got, err)
	}
	full := lsdMessage{port: 65535, cookie: "weir-0123456789abcdef"}
	for i := range lsdRoom(full.cookie) {
		full.hashes = append(full.hashes, weir.InfoHash{1, byte(i)})
	}
	for _, g := range []struct{ n int }{{len(full.append(nil, lsdGroup4))}, {len(full.append(nil, lsdGroup6))}} {
		if g.n > maxLSDBytes || g.n < maxLSDBytes-200 {
			t.Errorf("a full message has %d bytes", g.n)
		}
	}
}

func TestParseLSD(t *testing.T) {
	hash := strings.Repeat("AB", 20)
	cases := []struct {
		name, in string
		ok       bool
	}{
		{"Bare", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "\r\n\r\n", true},
		{"OtherCase", "BT-SEARCH * HTTP/1.1\nPORT:1\ninfohash:" + hash + "\nX: y\n", true},
		{"OneGoodHash", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: zz\r\nInfohash: " + hash + "\r\n\r\n", true},
		{"NoPort", "BT-SEARCH * HTTP/1.1\r\nInfohash: " + hash + "\r\n\r\n", false},
		{"BadPort", "BT-SEARCH * HTTP/1.1\r\nPort: 70000\r\nInfohash: " + hash + "\r\n\r\n", false},
		{"NoHash", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n\r\n", false},
		{"AfterTheEnd", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n\r\nInfohash: " + hash + "\r\n", false},
		{"SSDP", "M-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "\r\n\r\n", false},
		{"Empty", "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := parseLSD([]byte(c.in))
			if (err == nil) != c.ok {
				t.Fatalf("%v, %v", m, err)
			}
			if c.ok && (len(m.hashes) != 1 || m.hashes[0].String() != strings.ToLower(hash) || m.port != 1) {
				t.Errorf("%v", m)
			}
		})
	}
}

func TestLSDRound(t *testing.T) {
	r := lsdRound{room: 2}
	if _, ok := r.next(); ok || r.take(start) != nil {
		t.Fatal("something to tell without torrents")
	}
	for i := range 3 {
		r.add(weir.InfoHash{byte(i + 1)})
	}
	told := map[weir.InfoHash][]time.Duration{}
	var messages []time.Duration
	for at := time.Duration(0); at < 20*time.Minute; at += time.Second {
		if hashes := r.take(start.Add(at)); len(hashes) > 0 {
			if len(hashes) > 2 {
				t.Fatalf("%d torrents in a message", len(hashes))
			}
			messages = append(messages, at)
			for _, h := range hashes {
				told[h] = append(told[h], at)
			}
			if due, ok := r.next(); !ok || due.Sub(start) < at+lsdSpacing {
				t.Fatalf("next message at %v after one at %v", due.Sub(start), at)
			}
		}
	}
	for i := 1; i < len(messages); i++ {
		if messages[i]-messages[i-1] < lsdSpacing {
			t.Errorf("messages at %v and %v", messages[i-1], messages[i])
		}
	}
	for h, ats := range told {
		if len(ats) < 4 || ats[0] > lsdSpacing {
			t.Errorf("%v was told at %v", h, ats)
		}
		for i := 1; i < len(ats); i++ {
			if d := ats[i] - ats[i-1]; d < lsdInterval-lsdSpacing || d > lsdInterval+lsdSpacing {
				t.Errorf("%v was told at %v", h, ats)
			}
		}
	}
	if len(told) != 3 {
		t.Errorf("%d torrents were told", len(told))
	}
	r.remove(weir.InfoHash{1})
	r.add(weir.InfoHash{9})
	if due, _ := r.next(); due.Sub(start) > 20*time.Minute+lsdSpacing {
		t.Errorf("a new torrent waits until %v", due.Sub(start))
	}
}
