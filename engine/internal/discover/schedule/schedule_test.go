package schedule

import (
	"testing"
	"time"
)

// simulation runs a schedule in simulated time.
type simulation struct {
	s        Schedule[int]
	now      time.Time
	interval time.Duration // that trackers ask for
	dhtOnly  int           // torrents below have no tracker
	private  func(key int) bool

	asked, looked map[int][]time.Duration // since the start
}

func newSimulation(n int) *simulation {
	m := &simulation{
		now: time.Unix(1e9, 0), interval: 30 * time.Minute, private: func(int) bool { return false },
		asked: map[int][]time.Duration{}, looked: map[int][]time.Duration{},
	}
	for key := range n {
		m.s.Add(key, m.now)
	}
	return m
}

// run does what is due, each announce in no time, for a while.
func (m *simulation) run(d time.Duration) {
	start := time.Unix(1e9, 0)
	for end := m.now.Add(d); ; {
		for {
			key, ok := m.s.Tracker(m.now)
			if !ok {
				break
			}
			w := Want{DHT: !m.private(key)}
			if key >= m.dhtOnly {
				m.asked[key] = append(m.asked[key], m.now.Sub(start))
				w.Trackers, w.Listed = m.now.Add(m.interval), true
			}
			m.s.Set(key, w, m.now)
		}
		if key, ok := m.s.Lookup(m.now); ok {
			m.looked[key] = append(m.looked[key], m.now.Sub(start))
		}
		next, ok := m.s.NextTracker()
		if at, some := m.s.NextLookup(); some && (!ok || at.Before(next)) {
			next, ok = at, true
		}
		if !ok || next.After(end) {
			m.now = end
			return
		}
		if next.After(m.now) {
			m.now = next
		}
	}
}

// longestGap is the longest time without an announce, from the start to the end.
func longestGap(at []time.Duration, end time.Duration) (longest time.Duration) {
	last := time.Duration(0)
	for _, t := range append(at, end) {
		longest = max(longest, t-last)
		last = t
	}
	return longest
}

// busiest is the most announces in a second.
func busiest(all map[int][]time.Duration) (most int) {
	in := map[time.Duration]int{}
	for _, list := range all {
		for _, t := range list {
			in[t.Truncate(time.Second)]++
			most = max(most, in[t.Truncate(time.Second)])
		}
	}
	return most
}

// TestThousands: all trackers hear of all torrents within half an hour and then in their
// interval, a few a second; the DHT gets what its budget allows, those first that no tracker
// lists.
func TestThousands(t *testing.T) {
	const end = 10 * time.Hour
	m := newSimulation(5000)
	m.dhtOnly = 500
	m.run(end)
	for key := range 5000 {
		switch gap, lookups := longestGap(m.asked[key], end), longestGap(m.looked[key], end); {
		case key < m.dhtOnly && lookups > 30*time.Minute:
			t.Fatalf("torrent %d, which no tracker lists, was not announced in the DHT for %v", key, lookups)
		case key >= m.dhtOnly && gap > 31*time.Minute:
			t.Fatalf("torrent %d was not announced for %v", key, gap)
		case len(m.looked[key]) == 0:
			t.Fatalf("torrent %d was never announced in the DHT", key)
		}
	}
	if n := busiest(m.asked); n > trackerBurst+10 {
		t.Errorf("%d announces to trackers within a second", n)
	}
	lookups := 0
	for _, list := range m.looked {
		lookups += len(list)
	}
	if most := int(end/dhtGap) + 1; busiest(m.looked) > 1 || lookups > most || lookups < most*9/10 {
		t.Errorf("%d lookups, of %d that the budget allows", lookups, most)
	}
}

// TestFew: a handful of torrents is announced at once.
func TestFew(t *testing.T) {
	m := newSimulation(10)
	m.run(time.Second)
	if len(m.asked) != 10 {
		t.Errorf("%d of 10 torrents were announced to trackers at once", len(m.asked))
	}
	m.run(time.Minute)
	if len(m.looked) != 10 {
		t.Errorf("%d of 10 torrents were announced in the DHT within a minute", len(m.looked))
	}
}

// TestMoreThanTheBudget: of more torrents than the DHT budget allows, each gets its turn.
func TestMoreThanTheBudget(t *testing.T) {
	const n = 3000
	m := newSimulation(n)
	m.dhtOnly = n
	m.run(5 * time.Hour)
	for key := range n {
		if gap, fair := longestGap(m.looked[key], 5*time.Hour), n*dhtGap; gap > fair*11/10 {
			t.Fatalf("torrent %d waited %v, and %v are fair", key, gap, fair)
		}
	}
}

func TestPrivate(t *testing.T) {
	m := newSimulation(20)
	m.private = func(key int) bool { return key%2 == 0 }
	m.run(2 * time.Hour)
	for key := range 20 {
		if told := len(m.looked[key]) > 0; told == m.private(key) {
			t.Errorf("torrent %d is private: %v, and announced in the DHT: %v", key, m.private(key), told)
		}
	}
}

func TestRemove(t *testing.T) {
	m := newSimulation(20)
	m.run(time.Hour)
	for key := range 19 {
		if !m.s.Remove(key) || m.s.Remove(key) || m.s.Has(key) {
			t.Errorf("torrent %d was not removed once", key)
		}
	}
	m.asked, m.looked = map[int][]time.Duration{}, map[int][]time.Duration{}
	m.run(time.Hour)
	if len(m.asked) != 1 || len(m.looked) != 1 || m.s.Len() != 1 {
		t.Errorf("announced after the others were removed: %v, %v", m.asked, m.looked)
	}
	m.s.Set(3, Want{Trackers: m.now, DHT: true}, m.now) // it was removed while it was announced
	if m.s.Has(3) {
		t.Error("a removed torrent came back")
	}
}

// TestPrivateLater: one that turns out to be private leaves the DHT.
func TestPrivateLater(t *testing.T) {
	m := newSimulation(1)
	m.run(time.Hour)
	m.private = func(int) bool { return true }
	m.run(30 * time.Minute)
	before := len(m.looked[0])
	m.run(3 * time.Hour)
	if before == 0 || len(m.looked[0]) != before {
		t.Errorf("lookups at %v", m.looked[0])
	}
}
