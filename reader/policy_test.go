package reader

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// reads feeds a policy with reads of 128 KiB, one each gap, and returns the last window.
func reads(p *policy, now *time.Time, gap time.Duration, offs ...int64) (w weir.Range) {
	for _, off := range offs {
		*now = now.Add(gap)
		w = p.read(*now, off, 128*kib)
	}
	return w
}

func sequence(from, to int64) (offs []int64) {
	for off := from; off < to; off += 128 * kib {
		offs = append(offs, off)
	}
	return offs
}

func TestPolicy(t *testing.T) {
	fresh := func() (*policy, *time.Time) {
		now := time.Unix(0, 0)
		return &policy{pieceBytes: 4 * mib, maxBytes: 64 * mib}, &now
	}
	t.Run("FirstReadOpensNothing", func(t *testing.T) {
		p, now := fresh()
		if w := reads(p, now, 0, 0); !w.Empty() {
			t.Errorf("window %v", w)
		}
	})
	t.Run("SequentialOpensAPieceThenGrows", func(t *testing.T) {
		p, now := fresh()
		w := reads(p, now, time.Millisecond, sequence(0, 2*mib)...)
		if w.Off != 2*mib || w.Len() != 4*mib {
			t.Errorf("after 2 MiB: window %v, want a piece behind 2 MiB", w)
		}
		w = reads(p, now, time.Millisecond, sequence(2*mib, 32*mib)...)
		if w.Off != 32*mib || w.Len() != 32*mib {
			t.Errorf("after 32 MiB at full speed: window %v, want as much again", w)
		}
		w = reads(p, now, time.Millisecond, sequence(32*mib, 200*mib)...)
		if w.Len() != 64*mib {
			t.Errorf("after 200 MiB: window %v, want the bound of 64 MiB", w)
		}
	})
	t.Run("SlowReaderGetsTwoSeconds", func(t *testing.T) {
		p, now := fresh()
		// 128 KiB each 20 ms are 6.25 MiB/s.
		w := reads(p, now, 20*time.Millisecond, sequence(0, 128*mib)...)
		if w.Len() < 12*mib || w.Len() > 13*mib {
			t.Errorf("window of %d KiB for a reader of 6.25 MiB/s, want 12.5 MiB", w.Len()/kib)
		}
	})
	t.Run("ReorderedReadsAreSequential", func(t *testing.T) {
		p, now := fresh()
		offs := sequence(0, 16*mib)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := 0; i+8 <= len(offs); i += 8 {
			rng.Shuffle(8, func(a, b int) { offs[i+a], offs[i+b] = offs[i+b], offs[i+a] })
		}
		if w := reads(p, now, time.Millisecond, offs...); w.Off != 16*mib || w.Empty() {
			t.Errorf("window %v, want one behind 16 MiB", w)
		}
	})
	t.Run("SeekClosesAtOnce", func(t *testing.T) {
		p, now := fresh()
		reads(p, now, time.Millisecond, sequence(0, 16*mib)...)
		if w := reads(p, now, time.Millisecond, 100*mib); !w.Empty() {
			t.Errorf("window %v right after a seek", w)
		}
		if w := reads(p, now, time.Millisecond, sequence(100*mib, 102*mib)...); w.Off != 102*mib {
			t.Errorf("window %v, want one behind the new place", w)
		}
	})
	t.Run("ShortSkipDoesNot", func(t *testing.T) {
		p, now := fresh()
		reads(p, now, time.Millisecond, sequence(0, 16*mib)...)
		if w := reads(p, now, time.Millisecond, 18*mib); w.Empty() || w.Off < 18*mib {
			t.Errorf("window %v after a skip of 2 MiB", w)
		}
	})
	t.Run("RandomNeverOpens", func(t *testing.T) {
		p, now := fresh()
		rng := rand.New(rand.NewPCG(2, 2))
		for _, i := range rng.Perm(1000) {
			off := int64(i) * 16 * mib
			*now = now.Add(time.Millisecond)
			// A mapped page pulls in 1 MiB around itself.
			for _, o := range sequence(off, off+mib) {
				if w := p.read(*now, o, 128*kib); !w.Empty() {
					t.Fatalf("window %v after random reads", w)
				}
			}
		}
	})
}
