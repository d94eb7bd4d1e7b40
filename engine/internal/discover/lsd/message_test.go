package lsd

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func TestMessage(t *testing.T) {
	m := message{port: 6881, hashes: []weir.InfoHash{{0xab}, {0xcd}}, cookie: "c1"}
	b := m.append(nil, group4)
	want := "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n" +
		"Infohash: ab" + strings.Repeat("0", 38) + "\r\nInfohash: cd" + strings.Repeat("0", 38) + "\r\ncookie: c1\r\n\r\n\r\n"
	if string(b) != want {
		t.Errorf("%q", b)
	}
	got, err := parseMessage(b)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(m) {
		t.Errorf("%v, %v", got, err)
	}
	full := message{port: 65535, cookie: "weir-0123456789abcdef"}
	for i := range capacity(full.cookie) {
		full.hashes = append(full.hashes, weir.InfoHash{1, byte(i)})
	}
	for _, g := range []struct{ n int }{{len(full.append(nil, group4))}, {len(full.append(nil, group6))}} {
		if g.n > maxBytes || g.n < maxBytes-200 {
			t.Errorf("a full message has %d bytes", g.n)
		}
	}
}

func TestParseMessage(t *testing.T) {
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
			m, err := parseMessage([]byte(c.in))
			if (err == nil) != c.ok {
				t.Fatalf("%v, %v", m, err)
			}
			if c.ok && (len(m.hashes) != 1 || m.hashes[0].String() != strings.ToLower(hash) || m.port != 1) {
				t.Errorf("%v", m)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	r := schedule{capacity: 2}
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
			if due, ok := r.next(); !ok || due.Sub(start) < at+spacing {
				t.Fatalf("next message at %v after one at %v", due.Sub(start), at)
			}
		}
	}
	for i := 1; i < len(messages); i++ {
		if messages[i]-messages[i-1] < spacing {
			t.Errorf("messages at %v and %v", messages[i-1], messages[i])
		}
	}
	for h, ats := range told {
		if len(ats) < 4 || ats[0] > spacing {
			t.Errorf("%v was told at %v", h, ats)
		}
		for i := 1; i < len(ats); i++ {
			if d := ats[i] - ats[i-1]; d < interval-spacing || d > interval+spacing {
				t.Errorf("%v was told at %v", h, ats)
			}
		}
	}
	if len(told) != 3 {
		t.Errorf("%d torrents were told", len(told))
	}
	r.remove(weir.InfoHash{1})
	r.add(weir.InfoHash{9})
	if due, _ := r.next(); due.Sub(start) > 20*time.Minute+spacing {
		t.Errorf("a new torrent waits until %v", due.Sub(start))
	}
}

// TestMessageRules: the bounds on what is read and told.
func TestMessageRules(t *testing.T) {
	line := func(i int) string { return fmt.Sprintf("Infohash: %038d%02x\n", 0, i) }
	text := func(port string, hashes int, more string) []byte {
		s := "BT-SEARCH * HTTP/1.1\nPort: " + port + "\n"
		for i := range hashes {
			s += line(i + 1)
		}
		return []byte(s + more)
	}
	for port, ok := range map[string]bool{"1": true, "65535": true, "0": false, "65536": false, "-1": false, "x": false, "": false} {
		if m, err := parseMessage(text(port, 1, "")); (err == nil) != ok || ok && fmt.Sprint(m.port) != port {
			t.Errorf("port %q: %v, %v", port, m, err)
		}
	}
	m, err := parseMessage(text("5", 40, "Cookie: "+strings.Repeat("c", 100)+"\nno header\n\nPort: 9\n"))
	if err != nil || len(m.hashes) != 32 || len(m.cookie) != 64 || m.port != 5 || m.hashes[31][19] != 32 {
		t.Errorf("%d hashes, a cookie of %d, %v", len(m.hashes), len(m.cookie), err)
	}
	if m, err := parseMessage(text("5", 2, line(0)+"Infohash: 1234\n")); err != nil || len(m.hashes) != 2 {
		t.Errorf("an info hash of zeros, and none: %v, %v", m, err)
	}
	for over := range 2 {
		b := text("5", 1, "x:")
		b = append(b, strings.Repeat("y", 2800+over-len(b))...)
		if _, err := parseMessage(b); (err == nil) != (over == 0) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	for n := range 1200 {
		room := capacity(strings.Repeat("c", n))
		m := message{port: 65535, cookie: strings.Repeat("c", n), hashes: make([]weir.InfoHash, max(0, room))}
		if room > 0 && len(m.append(nil, group6)) > 1400 || room < 24 && len(m.append(nil, group6))+52 <= 1400 || room > 32 {
			t.Fatalf("with a cookie of %d there is room for %d", n, room)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(message{port: 1, hashes: []weir.InfoHash{testHash}, cookie: "c"}.append(nil, group4))
	f.Add([]byte("BT-SEARCH * HTTP/1.1\nPort:1\nInfohash:zz\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if m.port < 1 || m.port > 65535 || len(m.hashes) < 1 || len(m.hashes) > maxHashes || len(m.cookie) > maxCookie {
			t.Fatalf("%+v", m)
		}
		again, err := parseMessage(m.append(nil, group4))
		if err != nil || again.port != m.port || !reflect.DeepEqual(again.hashes, m.hashes) {
			t.Fatalf("%+v\n%+v\n%v", m, again, err)
		}
	})
}
