package tracker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestTierRounds: in any order of answers, failures and refusals a tier asks nobody
// twice in a round, nobody before he allows it, and nobody who wants us never; an
// answer ends the round and comes first in the next; it never stands still.
func TestTierRounds(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var urls []string
		for i := range 1 + r.IntN(4) {
			urls = append(urls, fmt.Sprintf("http://t%d/announce", i))
		}
		tr := NewTier(0, testHash, urls)
		now := start
		asking := map[*Entry]string{}
		var round []*Entry // asked since the last round began
		allowed := map[*Entry]time.Time{}
		never := map[*Entry]bool{}
		started := map[*Entry]bool{}
		var settled bool
		for range 60 {
			alone := r.IntN(2) == 0
			at, ok := tr.Due(alone)
			if tr.off {
				if len(never) != len(urls) || ok {
					t.Fatalf("seed %d: off, and %d of %d want us never", seed, len(never), len(urls))
				}
				break
			}
			if len(asking) == 0 && !ok {
				t.Fatalf("seed %d: it stands still", seed)
			}
			if ok && (len(asking) == 0 || r.IntN(2) == 0) {
				if at.After(now) {
					now = at
				}
				if len(asking) == 0 && (settled || tr.at <= slices.Index(tr.entries, last(round))) {
					round, settled = nil, false // a new one begins
				}
				e, event := tr.Begin(now, 1)
				switch {
				case asking[e] != "" || slices.Contains(round, e):
					t.Fatalf("seed %d: %s is asked twice", seed, e.URL)
				case never[e]:
					t.Fatalf("seed %d: %s wants us never", seed, e.URL)
				case allowed[e].After(now):
					t.Fatalf("seed %d: %s is asked %v too early", seed, e.URL, allowed[e].Sub(now))
				case (event == Started) == started[e]:
					t.Fatalf("seed %d: %s is told %q", seed, e.URL, event)
				}
				asking[e], round = "x"+string(event), append(round, e)
				continue
			}
			var e *Entry
			for _, o := range round { // in the order of asking, one by chance
				if asking[o] != "" && (e == nil || r.IntN(2) == 0) {
					e = o
				}
			}
			event := asking[e][1:]
			delete(asking, e)
			now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			switch r.IntN(4) {
			case 0:
				a := Answer{Interval: time.Duration(r.IntN(3600)) * time.Second, Seeds: -1, Leeches: -1}
				tr.Answered(e, now, Event(event), 1, a)
				interval, least := intervals(a)
				allowed[e], started[e] = now.Add(least), true
				if !settled && (tr.entries[0] != e || !tr.next.Equal(now.Add(interval)) || tr.failures != 0) {
					t.Fatalf("seed %d: after an answer %s is first, next in %v", seed, tr.entries[0].URL, tr.next.Sub(now))
				}
				settled = true
			case 1:
				d := time.Duration(r.IntN(7200)) * time.Second
				refused := &Refusal{Reason: "no", retryIn: d, never: r.IntN(6) == 0}
				tr.Failed(e, now, fmt.Errorf("ask: %w", refused), r.Float64())
				allowed[e] = now.Add(d)
				if refused.never {
					never[e] = true
				}
			case 2:
				d := time.Duration(r.IntN(7200)) * time.Second
				tr.Failed(e, now, &httpStatus{code: 503, retryIn: d}, r.Float64())
				allowed[e] = now.Add(d)
			default:
				tr.Failed(e, now, errors.New("broken"), r.Float64())
			}
		}
	}
}

// last returns the last entry, nil if there is none.
func last(all []*Entry) *Entry {
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// TestTierBackoffTimes: five seconds doubled up to half an hour, spread by a quarter.
func TestTierBackoffTimes(t *testing.T) {
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800} {
		want *= time.Second
		for jitter, part := range map[float64]float64{0: 0.75, 0.5: 1, 1: 1.25} {
			if got := Backoff(i+1, jitter); got != time.Duration(part*float64(want)) {
				t.Errorf("after %d failures, spread %v: %v, want %v of %v", i+1, jitter, got, part, want)
			}
		}
	}
	if Backoff(1000, 0.5) != 30*time.Minute {
		t.Error("it overflows")
	}
	tr := NewTier(3, testHash, []string{"http://a/announce"})
	if tr.index != 3 || tr.Hash != testHash || tr.off || NewTier(0, testHash, nil).off != true {
		t.Errorf("%+v", tr)
	}
	for i, want := range []time.Duration{5, 10, 20} {
		e, _ := tr.Begin(start, 1)
		if tr.Failed(e, start, errors.New("broken"), 0.5); tr.next.Sub(start) != want*time.Second || tr.failures != i+1 || e.lastErr != "broken" {
			t.Errorf("failure %d: next in %v", i+1, tr.next.Sub(start))
		}
	}
	e, _ := tr.Begin(start, 1)
	tr.Answered(e, start, Started, 1, Answer{})
	if tr.failures != 0 || e.lastErr != "" || e.answered != start {
		t.Errorf("after an answer: %+v", tr)
	}
}

// TestTierRemembers: what an answer says is kept until another one says otherwise.
func TestTierRemembers(t *testing.T) {
	tr := NewTier(0, testHash, []string{"http://a/announce"})
	e := tr.entries[0]
	if e.seeds != -1 || e.leeches != -1 || e.Name == "" {
		t.Errorf("before any answer: %+v", e)
	}
	ask := func(left int64, a Answer) Event {
		t.Helper()
		_, event := tr.Begin(start, left)
		tr.Answered(e, start, event, left, a)
		return event
	}
	peers := []netip.AddrPort{ap("1.2.3.4:5"), ap("1.2.3.5:5")}
	for i, step := range []struct {
		a                     Answer
		id                    string
		seeds, leeches, peers int
	}{
		{Answer{Seeds: 5, Leeches: -1, TrackerID: "x", Peers: peers}, "x", 5, -1, 2},
		{Answer{Seeds: -1, Leeches: -1}, "x", 5, -1, 0},
		{Answer{Seeds: -1, Leeches: 0, TrackerID: "y", Peers: peers[:1]}, "y", -1, 0, 1},
		{Answer{Seeds: 0, Leeches: 7}, "y", 0, 7, 0},
	} {
		event := ask(1, step.a)
		if (event == Started) != (i == 0) || e.TrackerID != step.id || e.seeds != step.seeds || e.leeches != step.leeches || e.peers != step.peers {
			t.Errorf("answer %d: %q, %+v", i, event, e)
		}
	}
	if a, b, c := ask(0, Answer{}), ask(0, Answer{}), ask(1, Answer{}); a != Completed || b != None || c != None {
		t.Errorf("completed: %q, then %q, %q", a, b, c)
	}
}

// TestTierCompletion: completion is told at once where it has to be told.
func TestTierCompletion(t *testing.T) {
	later := start.Add(time.Minute)
	for name, c := range map[string]struct {
		before func(tr *Tier)
		want   bool
	}{
		"Answered":   {func(tr *Tier) { e, _ := tr.Begin(start, 1); tr.Answered(e, start, Started, 1, Answer{}) }, true},
		"NeverAsked": {func(*Tier) {}, false},
		"Asking": {func(tr *Tier) {
			e, _ := tr.Begin(start, 1)
			tr.Answered(e, start, Started, 1, Answer{})
			tr.Begin(start, 1)
		}, false},
		"Failed": {func(tr *Tier) {
			e, _ := tr.Begin(start, 1)
			tr.Answered(e, start, Started, 1, Answer{})
			tr.Begin(start, 1)
			tr.Failed(e, start, errors.New("broken"), 0.5)
			tr.next = start.Add(time.Hour)
		}, false},
		"Told": {func(tr *Tier) {
			e, _ := tr.Begin(start, 1)
			tr.Answered(e, start, Completed, 1, Answer{})
		}, false},
		"BeganComplete": {func(tr *Tier) { e, _ := tr.Begin(start, 0); tr.Answered(e, start, Started, 0, Answer{}) }, false},
		"Off": {func(tr *Tier) {
			e, _ := tr.Begin(start, 1)
			tr.Failed(e, start, &Refusal{never: true}, 0)
		}, false},
	} {
		tr := NewTier(0, testHash, []string{"http://a/announce"})
		c.before(tr)
		was := tr.next
		tr.Completed(later)
		if got := tr.next.Equal(later) && !was.Equal(later); got != c.want || !got && !tr.next.Equal(was) {
			t.Errorf("%s: told at once: %v", name, got)
		}
		if tr.next.Before(was) != c.want {
			t.Errorf("%s: %v became %v", name, was, tr.next)
		}
	}
	// One that is due anyway is not put off, by a hurry neither.
	tr := NewTier(0, testHash, []string{"http://a/announce"})
	e, _ := tr.Begin(start, 1)
	tr.Answered(e, start, Started, 1, Answer{Interval: 30 * time.Second})
	was := tr.next
	tr.Completed(was.Add(time.Second))
	tr.Hurry(was.Add(time.Second))
	if !tr.next.Equal(was) {
		t.Errorf("put off by %v", tr.next.Sub(was))
	}
	tr.Begin(was, 1)
	tr.Hurry(start)
	if at, ok := tr.Due(true); ok {
		t.Errorf("due at %v while the only one is asked", at)
	}
}
