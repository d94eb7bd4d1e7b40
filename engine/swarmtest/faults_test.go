package swarmtest_test

import (
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

func TestSeederFaults(t *testing.T) {
	c := newSample(t)
	open := func(t *testing.T, f swarmtest.Faults) (*swarmtest.Seeder, *rawClient) {
		s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Faults: f})
		return s, openRaw(t, s, c)
	}
	t.Run("Corrupt", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{Corrupt: func(piece int) bool { return piece == 2 }})
		for i := range uint32(4) {
			r.request(i, 0, block)
			r.expectBlock(c, i, 0, block, i == 2)
		}
		s.SetFaults(swarmtest.Faults{})
		r.request(2, 0, block)
		r.expectBlock(c, 2, 0, block, false)
	})
	t.Run("FreezeAfter", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{FreezeAfter: 2 * block})
		for i := range uint32(3) {
			r.request(i, 0, block)
		}
		r.expectBlock(c, 0, 0, block, false)
		r.expectBlock(c, 1, 0, block, false)
		r.expectSilence()
		s.SetFaults(swarmtest.Faults{})
		r.expectBlock(c, 2, 0, block, false)
		s.SetFaults(swarmtest.Faults{Freeze: true})
		r.request(0, 0, block)
		r.expectSilence()
	})
	t.Run("DropAfter", func(t *testing.T) {
		_, r := open(t, swarmtest.Faults{DropAfter: block + 100})
		r.request(0, 0, block)
		r.request(1, 0, block)
		r.expectBlock(c, 0, 0, block, false)
		r.read(13 + 100)
		r.expectEnd()
	})
	t.Run("Choke", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{ReplyDelay: time.Hour})
		r.request(0, 0, block)
		if err := s.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.Requests == 1 }); err != nil {
			t.Fatal(err)
		}
		s.SetFaults(swarmtest.Faults{Choke: true})
		r.expect(0, "")
		r.expect(16, be(0, 0, block))
		r.request(1, 0, block)
		r.expect(16, be(1, 0, block))
		if n := s.Counters(); n.RequestsChoked != 1 || n.Rejects != 2 || n.Blocks != 0 {
			t.Errorf("counters %+v", n)
		}
		s.SetFaults(swarmtest.Faults{})
		r.expect(1, "")
	})
	t.Run("ChokeForEver", func(t *testing.T) {
		s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Faults: swarmtest.Faults{Choke: true}})
		r := newRawClient(t, s, c, fast)
		r.expect(14, "")
		r.haveNone()
		r.interested()
		r.expectSilence()
	})
	t.Run("ChokeCycle", func(t *testing.T) {
		_, r := open(t, swarmtest.Faults{ChokeEvery: 50 * time.Millisecond, ChokeFor: 30 * time.Millisecond})
		for range 3 {
			r.expect(0, "")
			r.expect(1, "")
		}
	})
	t.Run("RejectAll", func(t *testing.T) {
		_, r := open(t, swarmtest.Faults{RejectAll: true})
		r.request(1, 0, block)
		r.expect(16, be(1, 0, block))
	})
	t.Run("IgnoreAll", func(t *testing.T) {
		_, r := open(t, swarmtest.Faults{IgnoreAll: true})
		r.request(1, 0, block)
		r.expectSilence()
	})
	t.Run("ReplyDelay", func(t *testing.T) {
		_, r := open(t, swarmtest.Faults{ReplyDelay: 80 * time.Millisecond})
		start := time.Now()
		for i := range uint32(4) {
			r.request(i, 0, block)
		}
		for i := range uint32(4) {
			r.expectBlock(c, i, 0, block, false)
		}
		if took := time.Since(start); took < 78*time.Millisecond || took > 380*time.Millisecond {
			t.Errorf("four blocks together took %v, want 80 ms", took)
		}
	})
	t.Run("LateBlocks", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{ReplyDelay: 60 * time.Millisecond, LateBlocks: true})
		r.request(0, 0, block)
		r.cancel(0, 0, block)
		r.expectBlock(c, 0, 0, block, false)
		if n := s.Counters(); n.Cancels != 1 || n.Rejects != 0 {
			t.Errorf("counters %+v", n)
		}
	})
	t.Run("Unasked", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{Unasked: true})
		// The first came before or after the unchoke that openRaw has read.
		r.expectBlock(c, 0, 0, block, false)
		r.request(4, block, block)
		r.expectBlock(c, 5, 0, block, false)
		r.expectBlock(c, 4, block, block, false)
		if n := s.Counters(); n.Unasked != 2 || n.Blocks != 3 {
			t.Errorf("counters %+v", n)
		}
	})
	t.Run("DropConns", func(t *testing.T) {
		s, r := open(t, swarmtest.Faults{})
		s.DropConns()
		r.expectEnd()
		openRaw(t, s, c)
	})
}
