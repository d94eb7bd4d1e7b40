package webseed

import (
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// item is a folder of files with the lengths given, in pieces of 100 bytes; negative
// lengths are padding.
func item(lengths ...int64) *weir.TorrentInfo {
	info := &weir.TorrentInfo{Name: "item", PieceLength: 100}
	for i, n := range lengths {
		f := weir.FileInfo{Path: []string{string(rune('a' + i))}, Offset: info.Length, Length: max(n, -n), Padding: n < 0}
		info.Files = append(info.Files, f)
		info.Length += f.Length
		info.Padded = info.Padded || f.Padding
	}
	return info
}

func has(s *Site, now time.Time) []int {
	var pieces []int
	for i := range s.info.NumPieces() {
		if s.Has(now, i) {
			pieces = append(pieces, i)
		}
	}
	return pieces
}

func TestSiteFiles(t *testing.T) {
	start := time.Unix(1e9, 0)
	// a: pieces 0-2, b: 2, c: 2-4, padding in 4, d: 5
	for _, tt := range []struct {
		name   string
		do     func(s *Site)
		want   []int         // pieces at once
		change time.Duration // until time alone changes that, 0 for never
		later  []int         // pieces then
	}{
		{"New", func(*Site) {}, []int{0, 1, 2, 3, 4, 5}, 0, nil},
		{"Missing", func(s *Site) { s.Answered(start, 0, Answer{Verdict: Missing}) }, []int{3, 4, 5}, time.Hour, []int{0, 1, 2, 3, 4, 5}},
		{"Stale", func(s *Site) { s.Answered(start, 1, Answer{Verdict: Stale}) }, []int{0, 1, 3, 4, 5}, 0, nil},
		{"NoRanges", func(s *Site) { s.Answered(start, 0, Answer{Verdict: NoRanges}) }, []int{0, 1, 2, 3, 4, 5}, 0, nil},
		{"Failed", func(s *Site) { s.Answered(start, 3, Answer{Verdict: FailFile}) }, []int{0, 1, 2, 3, 4, 5}, time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"FailedLast", func(s *Site) { s.Answered(start, 4, Answer{Verdict: FailFile}) }, []int{0, 1, 2, 3, 4}, time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"FailedTwice", func(s *Site) {
			s.Answered(start.Add(-time.Second), 4, Answer{Verdict: Malformed})
			s.Broke(start, 4, "short")
		}, []int{0, 1, 2, 3, 4}, 2 * time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"FailedTogether", func(s *Site) { // four requests were under way
			for range 4 {
				s.Broke(start, 4, "short")
			}
		}, []int{0, 1, 2, 3, 4}, time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"HostWaits", func(s *Site) { s.Answered(start, 0, Answer{Verdict: WaitHost, Pause: time.Minute}) }, nil, time.Minute, []int{0, 1, 2, 3, 4, 5}},
		{"HostWaitsUnsaid", func(s *Site) { s.Answered(start, 0, Answer{Verdict: WaitHost}) }, nil, 2 * time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"HostWaitsTogether", func(s *Site) {
			for _, pause := range []time.Duration{0, time.Minute, time.Second} {
				s.Answered(start, 0, Answer{Verdict: WaitHost, Pause: pause})
			}
		}, nil, time.Minute, []int{0, 1, 2, 3, 4, 5}},
		{"Unreachable", func(s *Site) { s.Failed(start.Add(-2*time.Second), "refused"); s.Failed(start, "refused") }, nil, 4 * time.Second, []int{0, 1, 2, 3, 4, 5}},
		{"GivenUp", func(s *Site) { s.GiveUp("not allowed") }, nil, 0, nil},
		{"WrongAlone", func(s *Site) { s.Wrong(start, 1) }, []int{3, 4, 5}, time.Hour, nil}, // a is stale
		{"WrongAmongThree", func(s *Site) { s.Wrong(start, 2) }, []int{0, 1, 3, 4, 5}, time.Hour, []int{0, 1, 2, 3, 4, 5}},
		{"WrongThenRight", func(s *Site) { s.Wrong(start, 2); s.Right(2) }, []int{0, 1, 2, 3, 4, 5}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSite(item(250, 10, 200, -40, 100))
			tt.do(s)
			if got := has(s, start); !slices.Equal(got, tt.want) {
				t.Errorf("has %v, want %v", got, tt.want)
			}
			at, ok := s.NextChange(start)
			if ok != (tt.change != 0) || ok && at.Sub(start) != tt.change {
				t.Fatalf("changes after %v, %v, want %v", at.Sub(start), ok, tt.change)
			}
			if tt.later != nil {
				if got := has(s, at); !slices.Equal(got, tt.later) {
					t.Errorf("has %v later, want %v", got, tt.later)
				}
			}
		})
	}
}

func TestSiteNoRanges(t *testing.T) {
	info := item(4 << 20)
	info.PieceLength = 128 << 10
	s, now := NewSite(info), time.Unix(1e9, 0)
	s.Answered(now, 0, Answer{Verdict: NoRanges, Reason: "no ranges"})
	if got := has(s, now); !slices.Equal(got, []int{0, 1, 2}) { // of what begins within what may be skipped
		t.Errorf("has %v", got)
	}
}

// What began as a doubt about three files ends at the one that has changed.
func TestSiteBlame(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := NewSite(item(250, 10, 200, -40, 100))
	if stale := s.Wrong(now, 2); stale != nil {
		t.Fatalf("%v are stale at once", stale)
	}
	if stale := s.Right(0); stale != nil {
		t.Fatalf("%v are stale, and two can be guilty", stale)
	}
	if stale := s.Right(3); !slices.Equal(stale, []int{1}) {
		t.Fatalf("%v are stale, want b", stale)
	}
	if stale := s.Right(4); stale != nil {
		t.Fatalf("%v are stale a second time", stale)
	}
	st := s.State(now)
	if !slices.Equal(st.Stale, []int{1}) || st.Files[1] == "" || len(st.Files) != 1 || st.Gone || !st.Paused.IsZero() {
		t.Errorf("state %+v", st)
	}

	// Two that changed, in pieces of their own with others that are right.
	s = NewSite(item(50, 50, 50, 50))
	s.Right(0)
	if stale := s.Wrong(now, 1); stale != nil {
		t.Fatalf("%v", stale)
	}
	if stale := s.Wrong(now, 1); !slices.Equal(stale, []int{2, 3}) {
		t.Fatalf("after a second time %v are stale", stale)
	}
}

func TestSiteRedirects(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := NewSite(item(100, 100))
	s.Redirected(0, "http://node/a")
	if s.Location(0) != "http://node/a" || s.Location(1) != "" {
		t.Errorf("at %q and %q", s.Location(0), s.Location(1))
	}
	if s.Answered(now, 0, Answer{Verdict: Take}) || s.Location(0) == "" {
		t.Error("an answer that is right changes something")
	}
	s.Broke(now, 0, "ended early")
	if s.Location(0) != "" {
		t.Error("a node that breaks is asked again without asking where the file is now")
	}
	s.Delivered(0)
	s.Broke(now, 0, "ended early")
	if at, _ := s.NextChange(now); at.Sub(now) != filePause {
		t.Errorf("after it delivered, the pause is %v", at.Sub(now))
	}
}

// A server does not have what it said that it lacks until it gives bytes of it, and that
// it can't be reached is another matter.
func TestSiteMissing(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := NewSite(item(250, 10, 200, -40, 100)) // a: pieces 0-2, b: 2, c: 2-4, d: 5
	for _, step := range []struct {
		name        string
		do          func()
		missing     []int
		unreachable bool
	}{
		{"New", func() {}, nil, false},
		{"Busy", func() { s.Answered(now, 2, Answer{Verdict: WaitHost}) }, nil, false},
		{"Missing", func() { s.Answered(now, 2, Answer{Verdict: Missing, Reason: "404 Not Found"}) }, []int{2, 3, 4}, false},
		{"Unreachable", func() { s.Failed(now, "refused") }, []int{2, 3, 4}, true},
		{"Back", func() { s.Delivered(0) }, []int{2, 3, 4}, false},
		{"Found", func() { s.Delivered(2) }, nil, false},
	} {
		step.do()
		var missing []int
		for p := range s.info.NumPieces() {
			switch s.Missing(p) {
			case "":
			case "404 Not Found":
				missing = append(missing, p)
			default:
				t.Errorf("%s: piece %d: %s", step.name, p, s.Missing(p))
			}
		}
		if !slices.Equal(missing, step.missing) || s.Unreachable() != step.unreachable {
			t.Errorf("%s: missing %v, want %v; unreachable %v", step.name, missing, step.missing, s.Unreachable())
		}
	}
}
