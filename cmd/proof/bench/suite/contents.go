package suite

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// The lines that cases are measured on.
const (
	HalfTrip = 25 * time.Millisecond // 50 ms there and back
	Rate5    = 5_000_000             // bytes a second of each host
	Rate12   = 12_500_000
	Rate20   = 20_000_000
)

const (
	KiB = 1 << 10
	MiB = 1 << 20
	GiB = 1 << 30
)

// Gigabyte is what most cases read, as one file in pieces of 4 MiB.
func (b *Bench) Gigabyte() remotehosts.Spec {
	if b.Options.Quick {
		return remotehosts.One("quick.bin", 256*KiB, 16*MiB, 1)
	}
	return remotehosts.One("gigabyte.bin", 4*MiB, GiB, 1)
}

// Wire returns a wire by its name.
func (r *Run) Wire(name string) *testbed.Wire {
	switch name {
	case "lan":
		return r.Testbed.LAN
	case "rtt50":
		return r.Testbed.Far
	}
	return r.Testbed.Loopback
}

// Big is a file of 4 GiB where the memory for it is there, else a smaller one.
func (b *Bench) Big() remotehosts.Spec {
	switch free := availableMemory(); {
	case b.Options.Quick:
		return b.Gigabyte()
	case free > 9*GiB:
		return remotehosts.One("big.bin", 4*MiB, 4*GiB, 2)
	}
	return b.Gigabyte()
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

// Noise returns bytes that no program can make smaller.
func Noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	swarmtest.Fill(b, seed, 0)
	return b
}
