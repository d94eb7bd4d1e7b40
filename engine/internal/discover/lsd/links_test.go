package lsd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestLinkInterfaces: LSD is for networks at home, and for no other way out.
func TestLinkInterfaces(t *testing.T) {
	const lan = net.FlagUp | net.FlagBroadcast | net.FlagMulticast | net.FlagRunning
	got := linkInterfaces([]net.Interface{
		{Name: "lo", Flags: net.FlagUp | net.FlagLoopback | net.FlagMulticast},
		{Name: "eth0", Flags: lan},
		{Name: "down", Flags: lan &^ net.FlagUp},
		{Name: "tun0", Flags: lan | net.FlagPointToPoint},
		{Name: "mute", Flags: lan &^ net.FlagMulticast},
		{Name: "unplugged", Flags: lan &^ net.FlagRunning},
		{Name: "wlan0", Flags: lan},
	})
	if len(got) != 2 || got[0].Name != "eth0" || got[1].Name != "wlan0" {
		t.Errorf("%v", got)
	}
}

func TestLinkChanges(t *testing.T) {
	eth, wlan, bare := link{2, "eth0", "192.168.1.0/24 fe80::/64"}, link{3, "wlan0", "10.0.0.0/24"}, link{4, "bare", "fe80::/64"}
	cafe := link{3, "wlan0", "10.7.0.0/16"}
	many := func(first, n int) (links []link) {
		for i := range n {
			links = append(links, link{first + i, fmt.Sprint("v", first+i), ""})
		}
		return links
	}
	for name, c := range map[string]struct{ joined, now, come, gone []link }{
		"None":      {nil, nil, nil, nil},
		"First":     {nil, []link{bare, eth}, []link{eth, bare}, nil},
		"Same":      {[]link{wlan, eth}, []link{eth, wlan}, nil, nil},
		"Plugged":   {[]link{eth}, []link{eth, wlan}, []link{wlan}, nil},
		"Unplugged": {[]link{eth, wlan}, []link{eth}, nil, []link{wlan}},
		"Moved":     {[]link{eth, wlan}, []link{eth, cafe}, []link{cafe}, []link{wlan}},
		"Many":      {nil, append(many(10, 100), eth), append([]link{eth}, many(10, maxLinks-1)...), nil},
		"Full":      {many(10, maxLinks), append(many(10, maxLinks), eth), nil, nil},
		"Room":      {many(10, maxLinks), append(many(11, maxLinks-1), eth, wlan), []link{eth}, many(10, 1)},
	} {
		if come, gone := linkChanges(c.joined, c.now); !slices.Equal(come, c.come) || !slices.Equal(gone, c.gone) {
			t.Errorf("%s: come %v, gone %v", name, come, gone)
		}
	}
}

// TestNetworksOf: a machine that takes another address stays in its network.
func TestNetworksOf(t *testing.T) {
	nets := func(list ...string) string {
		var addrs []net.Addr
		for _, s := range list {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return networksOf(addrs)
	}
	home := nets("192.168.1.7/24", "2001:db8::1/64", "fe80::1/64")
	if got := nets("fe80::1/64", "2001:db8::2/64", "2001:db8::3/64", "192.168.1.9/24"); got != home {
		t.Errorf("%q, before %q", got, home)
	}
	if got := nets("192.168.2.7/24", "2001:db8::1/64", "fe80::1/64"); got == home {
		t.Errorf("two networks: %q", got)
	}
}

// inNetwork runs a test on a thread in a network namespace of its own, which has
// loopback at most.
func inNetwork(t *testing.T, f func(ip func(commands ...string))) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network of its own")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its network
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f(func(commands ...string) {
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("ip %q: %v: %s", commands, err, out)
				runtime.Goexit()
			}
		})
	}()
	<-done
}

// TestFollowLinks: networks that a machine joins later are told and heard, those it
// leaves make no error, and one that comes again is as good as new.
func TestFollowLinks(t *testing.T) {
	for _, group := range []netip.AddrPort{group4, group6} {
		t.Run(familyOf(group.Addr()).network, func(t *testing.T) {
			inNetwork(t, func(ip func(...string)) { testFollowLinks(t, group, ip) })
		})
	}
}

func testFollowLinks(t *testing.T, group netip.AddrPort, ip func(...string)) {
	if _, err := os.Stat("/proc/thread-self/net/if_inet6"); err != nil && group.Addr().Is6() {
		t.Skip("no IPv6")
	}
	receive, send, err := listenGroup(group)
	if err != nil {
		t.Error(err)
		return
	}
	defer receive.Close()
	defer send.Close()
	s := send
	n := 0
	heard := func(when string, want int) {
		t.Helper()
		n++
		text := fmt.Sprint(when, n)
		if _, err := s.WriteTo([]byte(text), net.UDPAddrFromAddrPort(group)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		// What is sent comes back before this: loopback keeps the order.
		got := 0
		buf := make([]byte, 100)
		_ = receive.SetReadDeadline(time.Now().Add(30 * time.Second))
		for got < want {
			k, _, err := receive.ReadFrom(buf)
			if err != nil {
				t.Errorf("%s: heard %d times, want %d: %v", when, got, want, err)
				return
			}
			if string(buf[:k]) == text {
				got++
			}
		}
		if len(s.links) != want {
			t.Errorf("%s: %v", when, s.links)
		}
	}
	follow := func(when string, want bool) {
		t.Helper()
		got := s.follow()
		// The kernel says a moment later that somebody is at the other end.
		for end := time.Now().Add(30 * time.Second); want && !got && time.Now().Before(end); got = s.follow() {
			time.Sleep(time.Millisecond)
		}
		if got != want {
			t.Errorf("%s: another network: %v", when, got)
		}
	}
	address := map[bool]string{false: "192.0.2.%d/24", true: "fe80::%d/64"}[group.Addr().Is6()]
	add := func(name string, host int) {
		at := "address add " + fmt.Sprintf(address, host) + " dev " + name
		if group.Addr().Is6() {
			at += " nodad"
		}
		ip("link add "+name+" type veth peer name p"+name, "link set p"+name+" multicast off addrgenmode none up", "link set "+name+" addrgenmode none up", at)
	}
	follow("alone", false)
	heard("alone", 0)
	add("v1", 1)
	follow("plugged in", true)
	follow("nothing new", false)
	heard("plugged in", 1)
	add("v2", 2)
	follow("second", true)
	heard("second", 2)
	ip("link set v1 down")
	follow("down", false)
	heard("down", 1)
	ip("link del v2")
	if _, err := s.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(group)); err == nil {
		t.Error("sent through what has vanished")
	}
	follow("vanished", false)
	heard("vanished", 0)
	for range maxLinks { // what was left takes no room
		ip("link add w type veth peer name pw", "link set pw multicast off addrgenmode none up", "link set w addrgenmode none up")
		follow("one more", true)
		ip("link del w")
		follow("without it", false)
	}
	add("v3", 3)
	follow("at last", true)
	heard("at last", 1)
}

// TestServiceFollows: networks are looked at now and then, while there is something to tell,
// and a new one is told all.
func TestServiceFollows(t *testing.T) {
	looks, more := 0, false
	g := &group{addr: group4, follow: func() bool { looks++; return more }}
	l := &Service{groups: []*group{g}}
	look := func(want int) {
		t.Helper()
		if open := l.follow(g); !open || looks != want {
			t.Errorf("%d looks, want %d; open: %v", looks, want, open)
		}
	}
	look(0) // nobody asks
	g.schedule.capacity = 9
	g.schedule.add(weir.InfoHash{1})
	look(1)
	look(1)
	if told := g.schedule.take(time.Now()); len(told) != 1 {
		t.Errorf("told %d", len(told))
	}
	g.followed = g.followed.Add(-followInterval)
	look(2)
	in := func() time.Duration {
		due, _ := g.schedule.next()
		return due.Sub(g.schedule.last)
	}
	if d := in(); d != interval {
		t.Errorf("the next message after %v", d)
	}
	more, g.followed = true, g.followed.Add(-followInterval)
	look(3)
	if d := in(); d != spacing {
		t.Errorf("another network is told after %v", d)
	}
	l.closed = true
	g.followed = time.Time{}
	if l.follow(g) || looks != 3 {
		t.Errorf("%d looks when it was closed", looks)
	}
}
