package picker

import (
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestDelay: a peer whose blocks we keep waiting ourselves is neither late nor silent.
func TestDelay(t *testing.T) {
	for name, c := range map[string]struct {
		delay time.Duration
		again bool // its blocks are asked of another peer
	}{"Limited": {10 * time.Second, false}, "Unlimited": {0, true}} {
		t.Run(name, func(t *testing.T) {
			k := New(geometry{1, 64 << 10}, make([]bool, 1), Options{})
			now := time.Unix(1000, 0)
			a := k.Join(PeerOptions{Fast: true, RTT: 10 * time.Millisecond})
			k.HasAll(a)
			k.Unchoked(time.Time{}, a)
			w := k.NewWant(weir.Blocked)
			k.Set(w, []Span{{0, 1}})
			k.Pick(now)
			b := k.Join(PeerOptions{Fast: true, RTT: 10 * time.Millisecond})
			k.HasAll(b)
			k.Unchoked(time.Time{}, b)
			k.SetDelay(c.delay)
			again := false
			for range 50 {
				now = now.Add(100 * time.Millisecond)
				again = again || len(k.Pick(now)) > 0
			}
			if again != c.again {
				t.Errorf("asked again in five seconds: %v", again)
			}
		})
	}
}
