// Package hostile measures weir beside peers that attack, lie, stay silent or do not
// exist.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/program"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest/attack"
)

// The cases of this file read from an honest seeder, alone and beside each kind of
// attack, and end weir while the attack goes on.

const (
	// hostileRate is slow, so that the line is the bound and not the processor,
	// which the attacker has a share of.
	hostileRate = 8_000_000
	hostileRead = 6 * suite.MiB // is timed
	hostileSkip = suite.MiB     // is read before
	// hostileArea is of each turn of reading; its last part is read at random.
	hostileArea   = 16 * suite.MiB
	hostilePlaces = 5
	// unreadFor passes where nothing is read.
	unreadFor = 10 * time.Second
)

// deadHash names a magnet that nobody has the metadata of.
var deadHash = [20]byte{0xde, 0xad, 1}

// hostileCase is a trouble that begins while weir runs.
type hostileCase struct {
	name, about string
	most        float64 // bytes of memory more
	unread      bool    // nothing is read beside it: the attackers have the processors
	// begin makes the trouble until ctx ends, and returns at once what waits for that.
	begin func(ctx context.Context, h *hostile) (wait func())
}

// Cases are a case for each kind of attack, and for all at once.
func Cases() (all []suite.Case) {
	onDead := map[string]bool{}
	kinds := attack.Kinds()
	for _, k := range attack.MagnetKinds() {
		onDead[k.Name] = true
		kinds = append(kinds, k)
	}
	for _, k := range kinds {
		all = append(all, hostileCase{
			name: k.Name, about: "one hostile connection, again whenever it was ended", most: 32 * suite.MiB,
			begin: func(ctx context.Context, h *hostile) func() {
				return h.attack(ctx, 1, func(int) (attack.Kind, bool) { return k, onDead[k.Name] }, func(int) net.IP { return net.IPv4(127, 0, 1, 1) }, 50*time.Millisecond)
			},
		}.Case())
	}
	var squatters []attack.Kind
	for _, k := range attack.Kinds() {
		if strings.HasPrefix(k.Name, "claims everything") || strings.HasSuffix(k.Name, "silence") || strings.HasPrefix(k.Name, "half") {
			squatters = append(squatters, k)
		}
	}
	return append(all, hostileCase{
		name: "64 squatters", about: "64 connections of one address that give nothing", most: 256 * suite.MiB,
		begin: func(ctx context.Context, h *hostile) func() {
			return h.attack(ctx, 64, func(i int) (attack.Kind, bool) { return squatters[i%len(squatters)], false }, func(int) net.IP { return net.IPv4(127, 0, 1, 1) }, 50*time.Millisecond)
		},
	}.Case(), hostileCase{
		name: "2000 of all kinds", about: "2,000 hostile connections at once, each from an address of its own", most: 256 * suite.MiB, unread: true,
		begin: func(ctx context.Context, h *hostile) func() {
			return h.attack(ctx, 2000, func(i int) (attack.Kind, bool) { k := kinds[i%len(kinds)]; return k, onDead[k.Name] }, func(i int) net.IP { return net.IPv4(127, 0, byte(2+i/250), byte(1+i%250)) }, time.Second)
		},
	}.Case(), hostileCase{
		name: "cache folder removed", about: "the folder of the cache is removed", most: 64 * suite.MiB,
		begin: func(_ context.Context, h *hostile) func() {
			h.fail(os.RemoveAll(h.p.Cache()))
			return func() {}
		},
	}.Case())
}

// Case returns the case.
func (c hostileCase) Case() suite.Case {
	figures := []suite.Figure{
		{Name: "memory more", Unit: suite.Bytes, Bar: suite.Bar{Most: c.most}},
		{Name: "SIGTERM to the end", Unit: suite.Seconds, Bar: suite.Bar{Most: 3}},
		{Name: "connections", Unit: suite.Count},
		{Name: "sent", Unit: suite.Bytes},
	}
	if !c.unread {
		figures = append(figures,
			suite.Figure{Name: "rate beside / alone", Unit: suite.Ratio, Bar: suite.Bar{Least: 0.8}},
			suite.Figure{Name: "first byte beside / alone", Unit: suite.Ratio, Bar: suite.Bar{Most: 2}},
			suite.Figure{Name: "rate alone", Unit: suite.BytesPerSec},
			suite.Figure{Name: "first byte alone", Unit: suite.Seconds})
	}
	return suite.Case{
		Name: "hostile/" + strings.ReplaceAll(c.name, ",", ""), About: c.about + "; an honest host of 8 MB/s, 50 ms",
		Systems: []string{suite.Weir}, Limit: 90 * time.Second, Aside: true,
		Figures: figures,
		Run:     c.run,
	}
}

// hostile is a weir in trouble.
type hostile struct {
	*suite.Run
	sw     *suite.Swarm
	p      *program.Process
	listen string // weir's address for peers

	connections, sent atomic.Int64

	mu     sync.Mutex
	failed error
	peak   int64 // of memory
}

func (h *hostile) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = errors.Join(h.failed, err)
}

func (c hostileCase) run(r *suite.Run) (suite.Values, error) {
	spec := remotehosts.One("hostile.bin", 256*suite.KiB, 3*hostileArea, 12)
	spec.Virtual, spec.V2 = true, true
	sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: spec, Own: true, Hosts: 1, Delay: suite.HalfTrip, BytesPerSec: hostileRate})
	if err != nil {
		return nil, err
	}
	h := &hostile{Run: r, sw: sw}
	if h.listen, err = freeAddress(); err != nil {
		return nil, err
	}
	dead := fmt.Sprintf("magnet:?xt=urn:btih:%x&dn=dead", deadHash)
	if h.p, err = r.StartWith(sw, sw.Torrent, []string{dead}, "--listen="+h.listen); err != nil {
		return nil, err
	}
	if err := h.p.Visible(r.Ctx); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(r.Ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() { h.sample(ctx) })
	defer sampler.Wait()
	defer stop()

	rate, first, err := h.read(0)
	if err != nil {
		return nil, fmt.Errorf("alone: %w", err)
	}
	before := h.peakMemory()
	wait := sync.OnceFunc(c.begin(ctx, h))
	defer wait()
	defer stop()
	pause(ctx, 300*time.Millisecond)
	v := suite.Values{}
	if c.unread {
		pause(ctx, unreadFor)
	} else {
		rateBeside, firstBeside, err := h.read(1)
		if err != nil {
			return nil, fmt.Errorf("beside it: %w", err)
		}
		v["rate alone"], v["first byte alone"] = rate, first
		v["rate beside / alone"], v["first byte beside / alone"] = rateBeside/rate, firstBeside/first
	}
	v["memory more"] = float64(max(0, h.peakMemory()-before))
	took, err := h.terminate(ctx)
	stop()
	wait()
	v["SIGTERM to the end"] = took.Seconds()
	v["connections"], v["sent"] = float64(h.connections.Load()), float64(h.sent.Load())
	return v, errors.Join(err, h.failed)
}

// pause waits.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// freeAddress returns an address that weir can listen on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return "0.0.0.0:" + port, errors.Join(err, l.Close())
}

// attack runs n connections at once until ctx ends.
func (h *hostile) attack(ctx context.Context, n int, kind func(i int) (k attack.Kind, dead bool), from func(i int) net.IP, pause time.Duration) (wait func()) {
	_, port, err := net.SplitHostPort(h.listen)
	if err != nil {
		h.fail(err)
	}
	target := attack.Target{
		InfoHash: h.sw.InfoHash(), Pieces: h.sw.Info().NumPieces(), PieceLength: int(h.sw.Info().PieceLength),
		Metadata: len(h.sw.InfoBytes()), Root: h.sw.Roots()[0],
	}
	onDead := target
	onDead.InfoHash = deadHash
	var all sync.WaitGroup
	for i := range n {
		k, dead := kind(i)
		t := target
		if dead {
			t = onDead
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from(i)}, Timeout: 5 * time.Second}
		all.Go(func() {
			connections, sent := k.Repeat(ctx, pause, func(ctx context.Context) (net.Conn, error) {
				return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
			}, t)
			h.connections.Add(int64(connections))
			h.sent.Add(sent)
		})
	}
	return all.Wait
}

// read reads from an area that was not read before, and returns the rate of a
// stream and how long the first bytes of the places between took.
func (h *hostile) read(area int64) (rate, first float64, err error) {
	random, err := os.Open(h.p.Path())
	if err != nil {
		return 0, 0, err
	}
	defer random.Close()
	if err := suite.RandomAccess(random); err != nil {
		return 0, 0, err
	}
	var took []float64
	for i := range hostilePlaces {
		off := (area+1)*hostileArea - int64(i+1)*suite.MiB + rand.Int64N(suite.MiB-4*suite.KiB)
		begin := time.Now()
		if err := h.Check(h.sw, random, off, make([]byte, 4*suite.KiB)); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(begin).Seconds())
	}
	stream, err := os.Open(h.p.Path())
	if err != nil {
		return 0, 0, err
	}
	defer stream.Close()
	begin, buf := time.Now(), make([]byte, 256*suite.KiB)
	for off := int64(0); off < hostileSkip+hostileRead; off += int64(len(buf)) {
		if off == hostileSkip {
			begin = time.Now()
		}
		if err := h.Check(h.sw, stream, area*hostileArea+off, buf); err != nil {
			return 0, 0, err
		}
	}
	return hostileRead / time.Since(begin).Seconds(), suite.Median(took), nil
}

// terminate ends weir, of which somebody reads.
func (h *hostile) terminate(ctx context.Context) (time.Duration, error) {
	f, err := os.Open(h.p.Path())
	if err != nil {
		return 0, err
	}
	defer f.Close()
	reading, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = f.ReadAt(make([]byte, 64*suite.KiB), 2*hostileArea) // it may fail: weir ends
		close(reading)
		_, _ = suite.ReadOn(f, 3*hostileArea, func(int) error { return nil })
	}()
	select {
	case <-reading:
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	took, err := h.p.Terminate()
	<-ended
	return took, err
}

// sample looks at weir's memory until ctx ends.
func (h *hostile) sample(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m := h.p.Memory()
			h.mu.Lock()
			h.peak = max(h.peak, m)
			h.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// peakMemory returns the most that was seen so far.
func (h *hostile) peakMemory() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peak
}
