package main

import (
	"testing"
	"time"
)

func TestExplained(t *testing.T) {
	l := newFaultLog()
	now := time.Now()
	l.injected = []*injection{
		{fault: NetworkGone, from: now, until: now.Add(10 * time.Second)},
		{fault: Removed, torrent: "film", from: now.Add(time.Hour)},
		{fault: Attack, from: now, until: now.Add(time.Hour)},
		{fault: Forgotten, from: now.Add(200 * time.Hour)},
	}
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		errno, torrent string
		from, until    time.Duration
		want           bool
	}{
		"Within":          {"ETIMEDOUT", "film", time.Second, 2 * time.Second, true},
		"Across":          {"ETIMEDOUT", "film", -time.Second, time.Minute, true},
		"Soon after":      {"ETIMEDOUT", "film", 20 * time.Second, time.Minute, true},
		"Before":          {"ETIMEDOUT", "film", -time.Minute, -time.Second, false},
		"Long after":      {"ETIMEDOUT", "film", 10*time.Second + slack + 1, time.Hour, false},
		"Other fault":     {"ENOTCONN", "film", time.Second, 2 * time.Second, false},
		"No such error":   {"EINVAL", "film", time.Second, 2 * time.Second, false},
		"Removed":         {"ESTALE", "film", 30 * time.Minute, 2 * time.Hour, true},
		"Other torrent":   {"ESTALE", "photos", 30 * time.Minute, 2 * time.Hour, false},
		"Attacks excuse":  {"EIO", "film", time.Second, 2 * time.Second, false},
		"Still in force":  {"ENOENT", "film", 100 * time.Hour, 101 * time.Hour, true},
		"Not added again": {"ENOENT", "photos", 300 * time.Hour, 301 * time.Hour, true},
		"Not yet removed": {"ENOENT", "film", time.Second, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := l.Explained(c.errno, c.torrent, at(c.from), at(c.until)); got != c.want {
				t.Errorf("explained: %v, want %v", got, c.want)
			}
		})
	}
	if _, explained := l.Tally(); explained["ETIMEDOUT"] != 3 || explained["ENOENT"] != 2 || explained["EIO"] != 0 {
		t.Errorf("counted %v", explained)
	}
}

func TestFlat(t *testing.T) {
	begin := time.Now()
	samples := func(life int, from, to time.Duration, memory int64) (all []Sample) {
		for d := from; d < to; d += time.Second {
			all = append(all, Sample{At: begin.Add(d), Start: life, Memory: memory})
		}
		return all
	}
	s := &Samples{}
	s.all = append(s.all, samples(1, 0, 20*time.Minute, 900)...)
	s.all = append(s.all, samples(2, 20*time.Minute, 24*time.Minute, 50)...)
	if _, _, ok := s.flat(); ok {
		t.Error("a run of four minutes is judged")
	}
	s.all = append(s.all, samples(2, 24*time.Minute, 25*time.Minute, 100)...)
	s.all = append(s.all, samples(2, 25*time.Minute, 39*time.Minute, 500)...)
	s.all = append(s.all, samples(2, 39*time.Minute, 40*time.Minute, 111)...)
	if fifth, last, ok := s.flat(); !ok || fifth != 100 || last != 111 {
		t.Errorf("fifth %d, last %d, %v; want 100 and 111", fifth, last, ok)
	}
}

func TestBadLines(t *testing.T) {
	for line, want := range map[string]bool{
		"panic: runtime error: index out of range":       true,
		"fatal error: concurrent map writes":             true,
		"WARNING: DATA RACE":                             true,
		"SIGBUS: bus error":                              true,
		"time=x level=ERROR msg=y":                       true,
		"time=x level=WARN msg=\"peer sent wrong data\"": false,
		"time=x level=INFO msg=\"no panic: all well\"":   false,
	} {
		if bad.MatchString(line) != want {
			t.Errorf("%s: bad is %v", line, !want)
		}
	}
}
