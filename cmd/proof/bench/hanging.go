package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"golang.org/x/sys/unix"
)

// hanging asks for names, attributes and free space while a hundred reads wait
// for a swarm without peers.
func hanging() Case {
	const readers, length = 100, 3 * time.Second
	return Case{
		Name: "hanging", About: "ls, stat, df and getfattr while 100 reads hang: no peers",
		Systems: []string{weirSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "p99", Unit: Seconds, Bar: Bar{Most: 0.010}},
			{Name: "longest", Unit: Seconds},
		},
		Run: func(r *Run) (Values, error) {
			spec := remotehosts.One("hanging.bin", 256*kib, 128*mib, 6)
			spec.Virtual = true
			sw, err := r.seed(r.wire("loopback"), testbed.Seeding{Spec: spec, Own: true})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, "", "--read-timeout=60s")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			ended := make(chan error, readers)
			for i := range readers {
				f, err := os.Open(p.Path())
				if err != nil {
					return nil, err
				}
				go func() { // until weir ends, and its reads with it
					defer f.Close()
					_, err := f.ReadAt(make([]byte, 4*kib), int64(i)*mib)
					ended <- err
				}()
			}
			var took []float64
			calls := []func() error{
				func() error { _, err := os.Stat(p.Path()); return err },
				func() error { _, err := os.ReadDir(p.Mount()); return err },
				func() error { return again(func() error { return unix.Statfs(p.Mount(), new(unix.Statfs_t)) }) },
				func() error {
					return again(func() error { _, err := unix.Getxattr(p.Path(), "user.weir.have", make([]byte, 64)); return err })
				},
			}
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for begin := time.Now(); time.Since(begin) < length; {
				for i, call := range calls {
					t := time.Now()
					if err := call(); err != nil {
						return nil, fmt.Errorf("call %d: %w", i, err)
					}
					took = append(took, time.Since(t).Seconds())
				}
				select {
				case <-tick.C:
				case err := <-ended:
					return nil, fmt.Errorf("a read ended that should hang: %v", err)
				}
			}
			return Values{"p99": quantile(took, 0.99), "longest": quantile(took, 1)}, nil
		},
	}
}

// again repeats a system call that a signal of Go's own has interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
