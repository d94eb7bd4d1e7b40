package sharing

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/catalogue"
)

func TestPolicy(t *testing.T) {
	const gib = 1 << 30
	half, none := 0.5, time.Duration(0)
	for name, c := range map[string]struct {
		p    Policy
		own  *catalogue.Sharing
		f    Facts
		want bool
	}{
		"All":           {Policy{}, nil, Facts{Have: 1}, true},
		"None":          {Policy{Seed: SeedNone}, nil, Facts{Have: 1, Pinned: true}, false},
		"NotPinned":     {Policy{Seed: SeedPinned}, nil, Facts{Have: 1}, false},
		"Pinned":        {Policy{Seed: SeedPinned}, nil, Facts{Have: 1, Pinned: true}, true},
		"BelowRatio":    {Policy{Ratio: 1}, nil, Facts{Totals: catalogue.Totals{Uploaded: gib - 1, Downloaded: gib}}, true},
		"Ratio":         {Policy{Ratio: 1}, nil, Facts{Totals: catalogue.Totals{Uploaded: gib, Downloaded: gib}}, false},
		"RatioOfHeld":   {Policy{Ratio: 1}, nil, Facts{Have: 2 * gib, Totals: catalogue.Totals{Uploaded: gib}}, true},
		"Time":          {Policy{Time: time.Hour}, nil, Facts{Totals: catalogue.Totals{Seeded: time.Hour}}, false},
		"OwnRatio":      {Policy{Ratio: 1}, &catalogue.Sharing{Ratio: &half}, Facts{Totals: catalogue.Totals{Uploaded: gib, Downloaded: 2 * gib}}, false},
		"OwnTimeNoEnd":  {Policy{Time: time.Hour}, &catalogue.Sharing{SeedTime: &none}, Facts{Totals: catalogue.Totals{Seeded: 2 * time.Hour}}, true},
		"OwnAll":        {Policy{Seed: SeedNone}, &catalogue.Sharing{Seed: SeedAll}, Facts{Have: 1}, true},
		"OwnNone":       {Policy{}, &catalogue.Sharing{Seed: SeedNone}, Facts{Have: 1}, false},
		"NothingToGive": {Policy{Ratio: 1}, nil, Facts{}, true}, // the engine sees that nothing is held
	} {
		if got := c.p.With(c.own).Offers(c.f); got != c.want {
			t.Errorf("%s: offers %v, want %v", name, got, c.want)
		}
	}
}

// fakeTorrent is complete, and gives what the test says.
type fakeTorrent struct {
	ih      weir.InfoHash
	up      int64
	offered atomic.Bool
}

func (f *fakeTorrent) InfoHash() weir.InfoHash   { return f.ih }
func (f *fakeTorrent) Exchanged() (int64, int64) { return f.up, 0 }
func (f *fakeTorrent) Share() (Facts, *catalogue.Sharing) {
	return Facts{Have: 100, Complete: true}, nil
}
func (f *fakeTorrent) Offer(on bool) { f.offered.Store(on) }

// fakeTotals keep totals in memory.
type fakeTotals struct {
	all     map[weir.InfoHash]catalogue.Totals
	puts    int
	changed int // in the last one
	err     error
}

func (f *fakeTotals) Totals(*slog.Logger) (map[weir.InfoHash]catalogue.Totals, error) {
	all := map[weir.InfoHash]catalogue.Totals{}
	for ih, t := range f.all {
		all[ih] = t
	}
	return all, f.err
}

func (f *fakeTotals) PutTotals(all map[weir.InfoHash]catalogue.Totals, changed []weir.InfoHash) error {
	f.puts, f.changed = f.puts+1, len(changed)
	for _, ih := range changed {
		f.all[ih] = all[ih]
	}
	return nil
}

// TestTotalsOfAllRuns: what was given counts over runs, and is not written again while nothing
// but time goes on.
func TestTotalsOfAllRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tor := &fakeTorrent{ih: weir.InfoHash{1}}
		keep := &fakeTotals{all: map[weir.InfoHash]catalogue.Totals{tor.ih: {Uploaded: 50, Seeded: time.Hour}}}
		run := func(d time.Duration) *Sharing {
			s, err := Open(Policy{Ratio: 2, Time: 10 * time.Hour}, keep, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			s.Add(tor)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); s.Run(ctx) }()
			time.Sleep(d)
			cancel()
			<-done
			s.Close()
			return s
		}
		tor.up = 7
		s := run(30 * time.Minute)
		if got, want := s.Of(tor.ih), (catalogue.Totals{Uploaded: 57, Seeded: 90 * time.Minute}); got != want || !tor.offered.Load() {
			t.Errorf("after the first run %+v, want %+v; offered: %v", got, want, tor.offered.Load())
		}
		if keep.puts != 2 { // what was given at first, and the time at the end
			t.Errorf("%d writes in half an hour", keep.puts)
		}
		tor.up = 142 // in the next run
		s = run(2 * time.Minute)
		if got := s.Of(tor.ih).Uploaded; got != 199 || !tor.offered.Load() {
			t.Errorf("uploaded %d; offered: %v", got, tor.offered.Load())
		}
		tor.up = 1
		s = run(2 * time.Minute)
		if tor.offered.Load() {
			t.Error("it is offered though it has given twice what is held")
		}
		s.Remove(tor.ih)
		if s.Close(); keep.changed != 1 {
			t.Errorf("totals of a removed torrent are kept")
		}
		if got := s.Of(tor.ih); got != (catalogue.Totals{}) {
			t.Errorf("a removed torrent has %+v", got)
		}
	})
}

func TestSeedTimeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tor := &fakeTorrent{ih: weir.InfoHash{2}}
		s, err := Open(Policy{Time: time.Hour}, &fakeTotals{all: map[weir.InfoHash]catalogue.Totals{}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s.Add(tor)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		before := tor.offered.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !before || tor.offered.Load() {
			t.Errorf("offered before an hour is over: %v, after it: %v", before, tor.offered.Load())
		}
	})
}

func TestOpenFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Open(Policy{}, &fakeTotals{err: broken}, slog.New(slog.DiscardHandler)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
