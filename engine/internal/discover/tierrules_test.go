package discover

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
		tr := newTier(0, testHash, urls)
		now := start
		asking := map[*entry]string{}
		var round []*entry // asked since the last round began
		allowed := map[*entry]time.Time{}
		never := map[*entry]bool{}
		started := map[*entry]bool{}
		var settled bool
		for range 60 {
			alone := r.IntN(2) == 0
			at, ok := tr.due(alone)
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
				e, event := tr.begin(now, 1)
				switch {
				case asking[e] != "" || slices.Contains(round, e):
					t.Fatalf("seed %d: %s is asked twice", seed, e.url)
				case never[e]:
					t.Fatalf("seed %d: %s wants us never", seed, e.url)
				case allowed[e].After(now):
					t.Fatalf("seed %d: %s is asked %v too early", seed, e.url, allowed[e].Sub(now))
				case (event == eventStarted) == started[e]:
					t.Fatalf("seed %d: %s is told %q", seed, e.url, event)
				}
				asking[e], round = "x"+event, append(round, e)
				continue
			}
			var e *entry
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
				a := announceAnswer{interval: time.Duration(r.IntN(3600)) * time.Second, seeds: -1, leeches: -1}
				tr.answered(e, now, event, 1, a)
				interval, least := intervals(a)
				allowed[e], started[e] = now.Add(least), true
				if !settled && (tr.entries[0] != e || !tr.next.Equal(now.Add(interval)) || tr.failures != 0) {
					t.Fatalf("seed %d: after an answer %s is first, next in %v", seed, tr.entries[0].url, tr.next.Sub(now))
				}
				settled = true
			case 1:
				d := time.Duration(r.IntN(7200)) * time.Second
				refused := &refusal{reason: "no", retryIn: d, never: r.IntN(6) == 0}
				tr.failed(e, now, fmt.Errorf("ask: %w", refused), r.Float64())
				allowed[e] = now.Add(d)
				if refused.never {
					never[e] = true
				}
			case 2:
				d := time.Duration(r.IntN(7200)) * time.Second
				tr.failed(e, now, &httpStatus{code: 503, retryIn: d}, r.Float64())
				allowed[e] = now.Add(d)
			default:
				tr.failed(e, now, errors.New("broken"), r.Float64())
			}
		}
	}
}

// last returns the last entry, nil if there is none.
func last(all []*entry) *entry {
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
			if got := backoff(i+1, jitter); got != time.Duration(part*float64(want)) {
				t.Errorf("after %d failures, spread %v: %v, want %v of %v", i+1, jitter, got, part, want)
			}
		}
	}
	if backoff(1000, 0.5) != 30*time.Minute {
		t.Error("it overflows")
	}
	tr := newTier(3, testHash, []string{"http://a/announce"})
	if tr.index != 3 || tr.hash != testHash || tr.off || newTier(0, testHash, nil).off != true {
		t.Errorf("%+v", tr)
	}
	for i, want := range []time.Duration{5, 10, 20} {
		e, _ := tr.begin(start, 1)
		if tr.failed(e, start, errors.New("broken"), 0.5); tr.next.Sub(start) != want*time.Second || tr.failures != i+1 || e.lastErr != "broken" {
			t.Errorf("failure %d: next in %v", i+1, tr.next.Sub(start))
		}
	}
	e, _ := tr.begin(start, 1)
	tr.answered(e, start, eventStarted, 1, announceAnswer{})
	if tr.failures != 0 || e.lastErr != "" || e.answered != start {
		t.Errorf("after an answer: %+v", tr)
	}
}

// TestTierRemembers: what an answer says is kept until another one says otherwise.
func TestTierRemembers(t *testing.T) {
	tr := newTier(0, testHash, []string{"http://a/announce"})
	e := tr.entries[0]
	if e.seeds != -1 || e.leeches != -1 || e.name == "" {
		t.Errorf("before any answer: %+v", e)
	}
	ask := func(left int64, a announceAnswer) string {
		t.Helper()
		_, event := tr.begin(start, left)
		tr.answered(e, start, event, left, a)
		return event
	}
	peers := []netip.AddrPort{ap("1.2.3.4:5"), ap("1.2.3.5:5")}
	for i, step := range []struct {
		a                   announceAnswer
		id                  string
		seeds, leeches, got int
	}{
		{announceAnswer{seeds: 5, leeches: -1, trackerID: "x", peers: peers}, "x", 5, -1, 2},
		{announceAnswer{seeds: -1, leeches: -1}, "x", 5, -1, 0},
		{announceAnswer{seeds: -1, leeches: 0, trackerID: "y", peers: peers[:1]}, "y", -1, 0, 1},
		{announceAnswer{seeds: 0, leeches: 7}, "y", 0, 7, 0},
	} {
		event := ask(1, step.a)
		if (event == eventStarted) != (i == 0) || e.id != step.id || e.seeds != step.seeds || e.leeches != step.leeches || e.got != step.got {
			t.Errorf("answer %d: %q, %+v", i, event, e)
		}
	}
	if a, b, c := ask(0, announceAnswer{}), ask(0, announceAnswer{}), ask(1, announceAnswer{}); a != eventCompleted || b != eventNone || c != eventNone {
		t.Errorf("completed: %q, then %q, %q", a, b, c)
	}
}

// TestTierCompletion: completion is told at once where it has to be told.
func TestTierCompletion(t *testing.T) {
	later := start.Add(time.Minute)
	for name, c := range map[string]struct {
		before func(tr *tier)
		want   bool
	}{
		"Answered":   {func(tr *tier) { e, _ := tr.begin(start, 1); tr.answered(e, start, eventStarted, 1, announceAnswer{}) }, true},
		"NeverAsked": {func(*tier) {}, false},
		"Asking": {func(tr *tier) {
			e, _ := tr.begin(start, 1)
			tr.answered(e, start, eventStarted, 1, announceAnswer{})
			tr.begin(start, 1)
		}, false},
		"Failed": {func(tr *tier) {
			e, _ := tr.begin(start, 1)
			tr.answered(e, start, eventStarted, 1, announceAnswer{})
			tr.begin(start, 1)
			tr.failed(e, start, errors.New("broken"), 0.5)
			tr.next = start.Add(time.Hour)
		}, false},
		"Told": {func(tr *tier) {
			e, _ := tr.begin(start, 1)
			tr.answered(e, start, eventCompleted, 1, announceAnswer{})
		}, false},
		"BeganComplete": {func(tr *tier) { e, _ := tr.begin(start, 0); tr.answered(e, start, eventStarted, 0, announceAnswer{}) }, false},
		"Off": {func(tr *tier) {
			e, _ := tr.begin(start, 1)
			tr.failed(e, start, &refusal{never: true}, 0)
		}, false},
	} {
		tr := newTier(0, testHash, []string{"http://a/announce"})
		c.before(tr)
		was := tr.next
		tr.completed(later)
		if got := tr.next.Equal(later) && !was.Equal(later); got != c.want || !got && !tr.next.Equal(was) {
			t.Errorf("%s: told at once: %v", name, got)
		}
		if tr.next.Before(was) != c.want {
			t.Errorf("%s: %v became %v", name, was, tr.next)
		}
	}
	// One that is due anyway is not put off, by a hurry neither.
	tr := newTier(0, testHash, []string{"http://a/announce"})
	e, _ := tr.begin(start, 1)
	tr.answered(e, start, eventStarted, 1, announceAnswer{interval: 30 * time.Second})
	was := tr.next
	tr.completed(was.Add(time.Second))
	tr.hurry(was.Add(time.Second))
	if !tr.next.Equal(was) {
		t.Errorf("put off by %v", tr.next.Sub(was))
	}
	tr.begin(was, 1)
	tr.hurry(start)
	if at, ok := tr.due(true); ok {
		t.Errorf("due at %v while the only one is asked", at)
	}
}
