package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func noPriority(netip.AddrPort) uint32 { return 0 }

func TestCandidates(t *testing.T) {
	now := time.Unix(1000, 0)
	t.Run("FailuresAreTriedLaterAndLater", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.add(fromTracker, "1.2.3.4:5")
		var waits []time.Duration
		for range 12 {
			addr, k := c.next(now)
			if k == nil {
				t.Fatal("nothing to dial")
			}
			k.busy = true
			if _, again := c.next(now); again != nil {
				t.Fatal("an address that is being dialed is dialed again")
			}
			c.gone(addr, true, false, errors.New("refused"), now)
			waits = append(waits, k.next.Sub(now))
			now = k.next
		}
		for i := 1; i < len(waits); i++ {
			if waits[i] < waits[i-1] || waits[i] > 5*time.Minute {
				t.Errorf("waits %v", waits)
			}
		}
	})
	t.Run("TheOnlyPeerIsTriedOftenWhileReadsWait", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.add(fromTracker, "1.2.3.4:5")
		addr, k := c.next(now)
		k.failures = 8
		c.gone(addr, true, false, errors.New("refused"), now)
		later := now.Add(hurriedBackoff)
		if _, again := c.next(later); again != nil {
			t.Error("tried again although nobody waits")
		}
		c.hurry = true
		if _, again := c.next(later.Add(-time.Second)); again != nil {
			t.Error("tried again too early")
		}
		if _, again := c.next(later); again == nil {
			t.Errorf("not tried again after %v", hurriedBackoff)
		}
	})
	t.Run("AUsefulPeerIsTriedSoon", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.add(fromTracker, "1.2.3.4:5")
		addr, k := c.next(now)
		k.failures = 6
		c.gone(addr, true, true, nil, now)
		if d := k.next.Sub(now); d > 2*time.Second {
			t.Errorf("tried again after %v", d)
		}
	})
	t.Run("NewBeforeFailed", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.add(fromTracker, "1.2.3.4:5")
		_, k := c.next(now)
		k.failures = 1
		c.add(fromTracker, "1.2.3.5:5")
		if addr, _ := c.next(now); addr != "1.2.3.5:5" {
			t.Errorf("dials %s first", addr)
		}
	})
	t.Run("BansAreByAddressAndExpire", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.ban("1.2.3.4:5", now)
		c.add(fromTracker, "1.2.3.4:6")
		if _, k := c.next(now); k != nil {
			t.Error("another port of a banned address is dialed")
		}
		if _, k := c.next(now.Add(banTime + time.Second)); k == nil {
			t.Error("the ban does not end")
		}
	})
	t.Run("OurselvesAreForgotten", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		c.add(fromTracker, "1.2.3.4:5")
		c.gone("1.2.3.4:5", true, false, fmt.Errorf("join: %w", errSelf), now)
		if len(c.known) != 0 {
			t.Error("our own address is kept")
		}
	})
	t.Run("WhoHangsUpIsTriedInAnotherManner", func(t *testing.T) {
		for e, want := range map[Encryption][]manner{
			EncryptionAllowed:  {plainEarly, encryptedEarly, plainLate},
			EncryptionOff:      {plainEarly, plainLate},
			EncryptionRequired: {encryptedEarly},
		} {
			c := newCandidates(firstManner(e), noPriority)
			c.add(fromTracker, "1.2.3.4:5")
			for i, m := range want {
				_, k := c.next(now)
				if k == nil || k.manner != m {
					t.Fatalf("encryption %d, try %d: %+v, want manner %d", e, i, k, m)
				}
				k.busy = true
				c.refused("1.2.3.4:5", e, fmt.Errorf("%w: EOF", errHungUp), now)
			}
			if _, k := c.next(now); k != nil {
				t.Errorf("encryption %d: tried for ever without a pause", e)
			}
			if _, k := c.next(now.Add(time.Minute)); k == nil || k.manner != want[0] {
				t.Errorf("encryption %d: after the pause %+v", e, k)
			}
		}
	})
	t.Run("Bounded", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		for i := range 3 * mostCandidates {
			c.add(fromTracker, fmt.Sprintf("10.0.%d.%d:1", i/256, i%256))
		}
		if len(c.known) > mostCandidates {
			t.Errorf("%d addresses are kept", len(c.known))
		}
	})
}
