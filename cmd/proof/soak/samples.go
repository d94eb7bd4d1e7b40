package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sample is what weir uses at a moment.
type Sample struct {
	At         time.Time
	Start      int // of weir
	Memory     int64
	Files      int
	Goroutines int
}

// Samples are taken each second.
type Samples struct {
	mount *Mount
	all   []Sample
}

// Run takes samples until the context ends.
func (s *Samples) Run(ctx context.Context) {
	for pause(ctx, time.Second) {
		if one, err := s.take(); err == nil { // else it is just being restarted
			s.all = append(s.all, one)
		}
	}
}

func (s *Samples) take() (Sample, error) {
	p, start := s.mount.Process()
	one := Sample{At: time.Now(), Start: start}
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return one, err
	}
	_, rest, ok := strings.Cut(string(status), "RssAnon:")
	if !ok {
		return one, io.ErrUnexpectedEOF
	}
	if one.Memory, err = strconv.ParseInt(strings.Fields(rest)[0], 10, 64); err != nil {
		return one, err
	}
	one.Memory <<= 10
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return one, err
	}
	one.Files = len(files)
	one.Goroutines, err = p.goroutines()
	return one, err
}

// goroutines asks weir's metrics.
func (p *process) goroutines() (int, error) {
	p.mu.Lock()
	address := p.metrics
	p.mu.Unlock()
	client := http.Client{Timeout: 10 * time.Second} // it may be stopped
	r, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	client.CloseIdleConnections()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// minute returns weir's median memory in a minute after one of its starts.
func (s *Samples) minute(start int, from time.Time) (int64, bool) {
	var of []int64
	for _, one := range s.all {
		if one.Start == start && !one.At.Before(from) && one.At.Before(from.Add(time.Minute)) {
			of = append(of, one.Memory)
		}
	}
	if len(of) == 0 {
		return 0, false
	}
	slices.Sort(of)
	return of[len(of)/2], true
}

// flat returns the memory in the fifth and in the last minute since weir's last start; ok
// is false if that is too short.
func (s *Samples) flat() (fifth, last int64, ok bool) {
	if len(s.all) == 0 {
		return 0, 0, false
	}
	end := s.all[len(s.all)-1]
	i := slices.IndexFunc(s.all, func(one Sample) bool { return one.Start == end.Start })
	begin := s.all[i].At
	if end.At.Sub(begin) < 6*time.Minute {
		return 0, 0, false
	}
	fifth, okFifth := s.minute(end.Start, begin.Add(4*time.Minute))
	last, okLast := s.minute(end.Start, end.At.Add(-time.Minute))
	return fifth, last, okFifth && okLast
}

// peak returns the most of each.
func (s *Samples) peak() (most Sample) {
	for _, one := range s.all {
		most.Memory = max(most.Memory, one.Memory)
		most.Files = max(most.Files, one.Files)
		most.Goroutines = max(most.Goroutines, one.Goroutines)
	}
	return most
}
