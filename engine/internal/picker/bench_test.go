package picker

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkStream reads 256 MiB with a window of 32 from simulated peers: what the
// picker takes for each block, the simulation's own part included.
func BenchmarkStream(b *testing.B) {
	for _, peers := range []int{4, 40} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				s := newSim(b, 256, 1<<20, Options{})
				for i := range peers {
					s.join(time.Duration(10+i)*ms, 40e6/float64(peers))
				}
				s.stream(0, 256, 32, time.Hour, nil)
			}
		})
	}
}
