package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// big is a file of 4 GiB where the memory for it is there, else a smaller one.
func (b *Bench) big() remotehosts.Spec {
	switch free := availableMemory(); {
	case b.o.Quick:
		return b.gigabyte()
	case free > 9*gib:
		return remotehosts.One("big.bin", 4*mib, 4*gib, 2)
	}
	return b.gigabyte()
}

// availableMemory returns what the system could give, in bytes; 0 if it doesn't say.
func availableMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			var n int64
			if _, err := fmt.Sscan(value, &n); err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// amplification reads a little at many places, on a fast network so that there
// is every temptation to fetch more, and compares what came with the pieces that
// had to come.
func amplification() Case {
	return Case{
		Name: "amplification", About: "200 reads of 4 KiB at random in 4 GiB, 4 hosts in the same network",
		Systems: []string{weirSystem}, Limit: 60 * time.Second, Once: true,
		Figures: []Figure{
			{Name: "fetched by pieces touched", Unit: Ratio, Bar: Bar{Most: 1.02}},
			{Name: "fetched by read", Unit: Ratio},
			{Name: "p50", Unit: Seconds},
		},
		Run: func(r *Run) (Values, error) {
			sw, err := r.seed(r.wire("lan"), testbed.Seeding{Spec: r.big(), Hosts: 4})
			if err != nil {
				return nil, err
			}
			_, f, err := r.open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			info := sw.Info()
			rnd := rand.New(rand.NewPCG(42, 0))
			at := make([]int64, 200)
			touched := map[int64]bool{}
			for i := range at {
				at[i] = rnd.Int64N(info.Length/4096) * 4096
				touched[at[i]/info.PieceLength] = true
			}
			took, err := timed(at, 0, time.Minute, r.reads(sw, f, 4*kib))
			if err != nil {
				return nil, err
			}
			sent, err := r.fetched(sw)
			return Values{
				"fetched by pieces touched": sent / float64(int64(len(touched))*info.PieceLength),
				"fetched by read":           sent / float64(len(at)*4*kib), "p50": latencies(took)["p50"],
			}, err
		},
	}
}
