package suite

import (
	"errors"
	"math/rand/v2"
	"os"
	"time"
)

// ErrEnough ends a run early that has seen enough.
var ErrEnough = errors.New("enough")

// Offsets returns n places for reads of so many bytes, each in a piece of its
// own and within it, in random order but the same in each run.
func Offsets(seed uint64, pieces int, pieceBytes, readBytes int64, n int) (at []int64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, p := range rnd.Perm(pieces)[:min(n, pieces)] {
		at = append(at, int64(p)*pieceBytes+rnd.Int64N((pieceBytes-readBytes)/4096+1)*4096)
	}
	return at
}

// WarmReads come before those that count: connections are up by then, and
// programs know their peers.
const WarmReads = 8

// Reads returns a function that reads so many bytes at an offset, and checks them.
func (r *Run) Reads(sw *Swarm, f *os.File, n int64) func(off int64) error {
	advised := false
	b := make([]byte, n)
	return func(off int64) error {
		if !advised {
			advised = true
			if err := RandomAccess(f); err != nil {
				return err
			}
		}
		return r.Check(sw, f, off, b)
	}
}

// Timed reads at each offset and returns how long it took, in seconds, without
// the first ones; a slow program gets fewer of both.
func Timed(at []int64, warm int, limit time.Duration, read func(off int64) error) (took []float64, err error) {
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

// Latencies are the figures of a row of reads.
func Latencies(took []float64) Values {
	return Values{"p50": Quantile(took, 0.5), "p95": Quantile(took, 0.95), "longest": Quantile(took, 1)}
}
