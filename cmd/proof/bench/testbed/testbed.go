package testbed

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/weirfs/weir/cmd/proof/bench/link"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"golang.org/x/sys/unix"
)

// endTimeout bounds how long a run may take to end when told to.
const endTimeout = 20 * time.Second

// HostsPerWire is how many hosts can seed on each wire.
const HostsPerWire = 6

// webHost is the number of the host on each wire that web seeds are at.
const webHost = HostsPerWire - 1

// The networks. On each, .1 is our end, .9 the tracker and from .10 on there are
// the hosts.
var (
	loopbackNet = netip.MustParsePrefix("127.0.77.0/24")
	relayedNet  = netip.MustParsePrefix("127.0.78.0/24")
	lineNet     = netip.MustParsePrefix("10.79.0.0/24")
	lanNet      = netip.MustParsePrefix("10.79.1.0/24")
)

// at returns an address of a network.
func at(p netip.Prefix, last byte) netip.Addr {
	b := p.Addr().As4()
	b[3] = last
	return netip.AddrFrom4(b)
}

func hosts(p netip.Prefix) (all []netip.Addr) {
	for i := range HostsPerWire {
		all = append(all, at(p, byte(10+i)))
	}
	return all
}

// farAddrs are all addresses of the far end on a network.
func farAddrs(p netip.Prefix) (all []netip.Prefix) {
	for _, a := range append([]netip.Addr{at(p, 9)}, hosts(p)...) {
		all = append(all, netip.PrefixFrom(a, p.Bits()))
	}
	return all
}

// Wire is a way to some hosts.
type Wire struct {
	Name   string
	hosts  *remotehosts.Client
	net    netip.Prefix
	first  int          // number of its first host at the far end
	line   *link.Client // nil where there is none
	relays bool
}

// Testbed is a place for one run.
type Testbed struct {
	Loopback *Wire // seeders in the same network
	LAN      *Wire // another network without delay; where there is none, Loopback
	Far      *Wire // another network at the end of a line with delay and rates
	Data     string
	close    []func()
}

// Options say what a Testbed has.
type Options struct {
	Data       string // folder for contents; empty for memory that is given back at the end
	Work       string // folder for everything else
	Libtorrent bool
	Stderr     io.Writer
}

// Open makes a testbed. Close clears it.
func Open(o Options) (_ *Testbed, err error) {
	g := &Testbed{Data: o.Data}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if Inside() {
		if err := openInside(); err != nil {
			return nil, err
		}
	}
	if g.Data == "" {
		if g.Data, err = scratch(o.Work); err != nil {
			return nil, err
		}
	}
	if Inside() {
		return g, g.openEnclosed(o)
	}
	if g.Loopback, err = g.local("loopback", loopbackNet, o, false); err != nil {
		return nil, err
	}
	g.LAN = g.Loopback
	g.Far, err = g.local("relay", relayedNet, o, true)
	return g, err
}

// scratch returns a folder for contents: memory of our own when we are enclosed,
// else a part of work.
func scratch(work string) (string, error) {
	dir := filepath.Join(work, "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if Inside() {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=75%"); err != nil {
			return "", fmt.Errorf("memory for the contents: %w", err)
		}
	}
	return dir, nil
}

// Close ends every process of the ground.
func (g *Testbed) Close() {
	for i := len(g.close) - 1; i >= 0; i-- {
		g.close[i]()
	}
	g.close = nil
}

// local opens remote hosts in this process.
func (g *Testbed) local(name string, p netip.Prefix, o Options, relayed bool) (*Wire, error) {
	c, stop, err := remotehosts.Local(remotehosts.Options{Data: g.Data, Hosts: hosts(p), Tracker: at(p, 9), Libtorrent: o.Libtorrent, Relayed: relayed})
	if err != nil {
		return nil, err
	}
	g.close = append(g.close, stop)
	return &Wire{Name: name, hosts: c, net: p, relays: relayed}, nil
}

// farSite is what the process at the far end serves.
func farSite(data string, libtorrent bool) remotehosts.Options {
	return remotehosts.Options{Data: data, Hosts: append(hosts(lineNet), hosts(lanNet)...), Tracker: netip.IPv4Unspecified(), Libtorrent: libtorrent}
}

// openEnclosed makes the networks of an enclosed run.
func (g *Testbed) openEnclosed(o Options) (err error) {
	if err := link.Quiet(); err != nil {
		return err
	}
	if g.Loopback, err = g.local("loopback", loopbackNet, o, false); err != nil {
		return err
	}
	near, err := link.OpenTUN("line", []netip.Prefix{netip.PrefixFrom(at(lineNet, 1), 24)})
	if err != nil {
		return err
	}
	defer near.Close()
	far, conn, err := g.startFar(o)
	if err != nil {
		return err
	}
	defer far.Close()
	lan, err := netlink.LinkByName("lan")
	if err != nil {
		return err
	}
	if err := link.Configure(lan, []netip.Prefix{netip.PrefixFrom(at(lanNet, 1), 24)}); err != nil {
		return err
	}
	cmd, control, err := child(roleLine, o.Stderr, near, far)
	if err != nil {
		return err
	}
	g.closeChild(cmd, control)
	client := remotehosts.NewClient(conn, farSite(g.Data, o.Libtorrent))
	g.Far = &Wire{Name: "line", hosts: client, net: lineNet, line: link.NewClient(control)}
	g.LAN = &Wire{Name: "lan", hosts: client, net: lanNet, first: HostsPerWire}
	return nil
}

// closeChild ends a process with Close.
func (g *Testbed) closeChild(cmd *exec.Cmd, control io.Closer) {
	g.close = append(g.close, func() {
		control.Close()
		kill := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		_ = cmd.Wait() // it has nothing to say
		kill.Stop()
	})
}

// startFar makes the network of the far end, its end of the line and of the lan,
// and starts remote hosts there. Network namespaces belong to threads: one that has
// gone to the far end starts the process and is thrown away.
func (g *Testbed) startFar(o Options) (tun *os.File, conn io.ReadWriteCloser, err error) {
	onThread(func() {
		if tun, err = openFar(); err != nil {
			return
		}
		var cmd *exec.Cmd
		if cmd, conn, err = child(roleFar, o.Stderr); err != nil {
			tun.Close()
			return
		}
		g.closeChild(cmd, conn)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("the far end: %w", err)
	}
	// What the process needs to know comes as its first message.
	if _, err := fmt.Fprintf(conn, "%t %s\n", o.Libtorrent, g.Data); err != nil {
		return nil, nil, err
	}
	return tun, conn, nil
}

// onThread runs fn on a thread of its own, which ends with it. That is never the
// process's first thread: where that one is, the whole process is as others see it,
// and it doesn't end.
func onThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			onThread(fn) // not on this one, which is held meanwhile
			runtime.UnlockOSThread()
			return
		}
		fn()
	}()
	<-done
}

// openFar moves the calling thread to a new network and prepares that.
func openFar() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	if err := link.Quiet(); err != nil {
		return nil, err
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "lan"}, PeerName: "lan", PeerNamespace: netlink.NsPid(os.Getpid())}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, err
	}
	lan, err := netlink.LinkByName("lan")
	if err != nil {
		return nil, err
	}
	if err := link.Configure(lan, farAddrs(lanNet)); err != nil {
		return nil, err
	}
	return link.OpenTUN("line", farAddrs(lineNet))
}

// Seeding is a swarm on a wire.
type Seeding struct {
	Spec        remotehosts.Spec
	Torrent     string // path of the .torrent, for seeders that want one
	Hosts       int    // how many seed
	Own         bool   // by seeders of our own
	Corrupt     int    // so many of Hosts, the first ones, lie; with Own
	Delay       time.Duration
	BytesPerSec int64 // of each host
	// Web is the path of a web seed, "" for none: of the wire's last host, which serves
	// files only. The one before it helps.
	Web            string
	WebBytesPerSec int64 // of these two
}

// Start replaces what is seeded at the wire's site and sets the line up. It
// returns the addresses of the seeders.
func (w *Wire) Start(ctx context.Context, s Seeding) ([]string, error) {
	if w.line != nil {
		r := link.Rates{Delay: s.Delay, Hosts: map[netip.Addr]int64{}}
		for _, h := range hosts(w.net) {
			r.Hosts[h] = s.BytesPerSec
		}
		if s.Web != "" {
			r.Hosts[at(w.net, 10+webHost)], r.Hosts[at(w.net, 10+webHost-1)] = s.WebBytesPerSec, s.WebBytesPerSec
		}
		if err := w.line.Set(r); err != nil {
			return nil, err
		}
	}
	req := remotehosts.Seeding{Spec: s.Spec, Torrent: s.Torrent, Own: s.Own, Delay: s.Delay, BytesPerSec: s.BytesPerSec, WebBytesPerSec: s.WebBytesPerSec}
	if s.Web != "" {
		req.Web = []int{w.first + webHost, w.first + webHost - 1}
	}
	for i := range s.Hosts {
		req.Hosts = append(req.Hosts, w.first+i)
		if i < s.Corrupt {
			req.Corrupt = append(req.Corrupt, w.first+i)
		}
	}
	return w.hosts.Start(ctx, req)
}

// Hosts returns the hosts at the other end. They are numbered as Host says.
func (w *Wire) Hosts() *remotehosts.Client { return w.hosts }

// Host returns the hosts' number of a host of the wire.
func (w *Wire) Host(i int) int { return w.first + i }

// AnnounceURL returns the tracker's address on the wire.
func (w *Wire) AnnounceURL() string { return remotehosts.AnnounceURL(at(w.net, 9)) }

// FileURL returns where host i serves a file of the data folder.
func (w *Wire) FileURL(i int, path string) string { return w.hosts.FileURL(w.first+i, path) }

// WebURL returns the address of a path of the web seed's host.
func (w *Wire) WebURL(path string) string { return w.FileURL(webHost, strings.TrimPrefix(path, "/")) }
