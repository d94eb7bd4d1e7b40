package webseed

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// busy lets the active web seeds be asked for d, at their rates.
func busy(c *Choice, now *time.Time, d time.Duration, rate func(i int) int64) []int {
	for end := now.Add(d); now.Before(end); *now = now.Add(time.Second) {
		for _, i := range c.Active(*now) {
			c.Measured(i, time.Second, rate(i))
		}
	}
	return c.Active(*now)
}

func hosts(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("h", i))
	}
	return all
}

func TestChoiceFindsTheFastest(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := NewChoice(hosts(200))
	if got := c.Active(now); !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("first %v", got)
	}
	rate := func(i int) int64 { return int64(1000 + 1000*(i%10)) } // 7, 8 and 9 are the fastest of the first ten
	got := busy(c, &now, 5*time.Minute, rate)
	if !slices.Equal(got, []int{6, 7, 8}) { // nine are tried
		t.Errorf("active in the end: %v", got)
	}
	tried := 0
	for i := range c.all {
		if c.all[i].tried {
			tried++
		}
	}
	if tried != maxTrials {
		t.Errorf("%d were tried", tried)
	}
}

func TestChoiceReplaces(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := NewChoice([]string{"a", "a", "b", "c", "d"})
	if got := c.Active(now); !slices.Equal(got, []int{0, 2, 3}) {
		t.Fatalf("one a host: %v", got)
	}
	c.Rest(0, now.Add(time.Minute))
	if got := c.Active(now); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("the other name of a: %v", got)
	}
	c.Rest(2, time.Time{})
	c.Rest(1, time.Time{})
	if got := c.Active(now); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("what is left: %v", got)
	}
	if got := c.Active(now.Add(time.Minute - 1)); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("before the rest is over: %v", got)
	}
	now = now.Add(time.Minute)
	if got := c.Active(now); !slices.Equal(got, []int{0, 3, 4}) {
		t.Errorf("after the rest: %v", got)
	}
}

func TestChoiceOfNone(t *testing.T) {
	if got := NewChoice(nil).Active(time.Unix(1e9, 0)); got != nil {
		t.Errorf("%v", got)
	}
}
