package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// errEnough ends a run early that has seen enough.
var errEnough = errors.New("enough")

// offsets returns n places for reads of so many bytes, each in a piece of its
// own and within it, in random order but the same in each run.
func offsets(seed uint64, pieces int, pieceBytes, readBytes int64, n int) (at []int64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, p := range rnd.Perm(pieces)[:min(n, pieces)] {
		at = append(at, int64(p)*pieceBytes+rnd.Int64N((pieceBytes-readBytes)/4096+1)*4096)
	}
	return at
}

// warmReads come before those that count: connections are up by then, and
// programs know their peers.
const warmReads = 8

// randomReads reads at random, each read in a piece that was not touched before,
// from four hosts 50 ms away. The limit is the same pieces by bare block requests.
func randomReads(name string, readBytes int64, p50, p95 float64, beside ...string) Case {
	return Case{
		Name: name, About: "reads at random, 4 hosts × 12.5 MB/s, 50 ms, connections warm, pieces of 4 MiB",
		Systems: append([]string{weirSystem}, beside...), Limit: 40 * time.Second,
		Figures: []Figure{
			{Name: "p50", Unit: Seconds, Reference: rawSystem, Bar: Bar{Most: p50}},
			{Name: "p95", Unit: Seconds, Reference: rawSystem, Bar: Bar{Most: p95}},
			{Name: "longest", Unit: Seconds, Reference: rawSystem},
			{Name: "fetched by pieces touched", Unit: Ratio, Bar: Bar{Most: 1.02}},
			{Name: "fetched by read", Unit: Ratio},
		},
		Run: func(r *Run) (Values, error) { return r.randomReads(readBytes) },
	}
}

func (r *Run) randomReads(readBytes int64) (Values, error) {
	sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 4, Delay: halfTrip, BytesPerSec: rate12})
	if err != nil {
		return nil, err
	}
	info := sw.Info()
	warm, n := warmReads, 45
	if r.o.Quick {
		warm, n = 2, 5
	}
	at := offsets(42, info.NumPieces(), info.PieceLength, readBytes, warm+n)
	var read func(off int64) error
	if r.system == rawSystem {
		s, err := raw.DialAll(r.ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		read = func(off int64) error { return s.Piece(r.ctx, info, int(off/info.PieceLength)) }
	} else {
		_, f, err := r.open(sw)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		read = r.reads(sw, f, readBytes)
	}
	count := 0
	took, err := timed(at, warm, 14*time.Second, func(off int64) error {
		count++
		return read(off)
	})
	if err != nil {
		return nil, err
	}
	v := latencies(took)
	if r.system != rawSystem {
		sent, err := r.fetched(sw)
		if err != nil {
			return v, err
		}
		n := float64(count)
		v["fetched by pieces touched"] = sent / (n * float64(info.PieceLength))
		v["fetched by read"] = sent / (n * float64(readBytes))
	}
	return v, nil
}

// reads returns a function that reads so many bytes at an offset, and checks them.
func (r *Run) reads(sw *Swarm, f *os.File, n int64) func(off int64) error {
	advised := false
	b := make([]byte, n)
	return func(off int64) error {
		if !advised {
			advised = true
			if err := randomAccess(f); err != nil {
				return err
			}
		}
		return r.check(sw, f, off, b)
	}
}

// timed reads at each offset and returns how long it took, in seconds, without
// the first ones; a slow program gets fewer of both.
func timed(at []int64, warm int, limit time.Duration, read func(off int64) error) (took []float64, err error) {
	begin, cold := time.Now(), true
	for i, off := range at {
		t := time.Now()
		if err := read(off); err != nil {
			return nil, err
		}
		if !cold {
			took = append(took, time.Since(t).Seconds())
		}
		since := time.Since(begin)
		if i+1 >= warm || since > limit/3 {
			cold = false
		}
		if since > limit && len(took) > 0 {
			break
		}
	}
	return took, nil
}

// latencies are the figures of a row of reads.
func latencies(took []float64) Values {
	return Values{"p50": quantile(took, 0.5), "p95": quantile(took, 0.95), "longest": quantile(took, 1)}
}
