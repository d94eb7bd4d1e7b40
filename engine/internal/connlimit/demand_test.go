package connlimit

import (
	"testing"
	"time"
)

func TestStarved(t *testing.T) {
	for name, c := range map[string]struct {
		d      Demand
		givers int
		want   bool
	}{
		"NothingIsWanted":   {Demand{}, 0, false},
		"AwaitedOfFew":      {Demand{Awaited: true}, 3, true},
		"AwaitedOfEnough":   {Demand{Awaited: true}, 4, false},
		"WantedOfFew":       {Demand{Wanted: true}, 3, true},
		"WantedOfEnough":    {Demand{Wanted: true}, 4, false},
		"WaitsForTwo":       {Demand{Awaited: true, Waited: 2 * time.Second}, 4, false},
		"WaitsForLonger":    {Demand{Awaited: true, Waited: 2*time.Second + 1}, 50, true},
		"WaitedForNobodyIs": {Demand{Waited: time.Hour}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.d.Starved(c.givers); got != c.want {
				t.Errorf("%+v with %d givers: %v", c.d, c.givers, got)
			}
		})
	}
}

func TestGiving(t *testing.T) {
	now := time.Now()
	for gave, want := range map[time.Time]bool{{}: false, now: true, now.Add(1 - 10*time.Second): true, now.Add(-10 * time.Second): false} {
		if Giving(gave, now) != want {
			t.Errorf("gave %v ago: %v", now.Sub(gave), !want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, c := range [][3]int{{200, 0, 200}, {200, 1, 200}, {200, 3, 66}, {200, 1000, 1}} {
		if got := Share(c[0], c[1]); got != c[2] {
			t.Errorf("%d connections over %d torrents: %d each, want %d", c[0], c[1], got, c[2])
		}
	}
}
