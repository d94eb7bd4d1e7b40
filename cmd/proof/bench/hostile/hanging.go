package hostile

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Hanging asks for names, attributes and free space while a hundred reads wait
// for a swarm without peers.
func Hanging() suite.Case {
	const readers, length = 100, 3 * time.Second
	return suite.Case{
		Name: "hanging", About: "ls, stat, df and getfattr while 100 reads hang: no peers",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "p99", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.010}},
			{Name: "longest", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := remotehosts.One("hanging.bin", 256*suite.KiB, 128*suite.MiB, 6)
			spec.Virtual = true
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: spec, Own: true})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "", "--read-timeout=60s")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
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
					_, err := f.ReadAt(make([]byte, 4*suite.KiB), int64(i)*suite.MiB)
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
			return suite.Values{"p99": suite.Quantile(took, 0.99), "longest": suite.Quantile(took, 1)}, nil
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
