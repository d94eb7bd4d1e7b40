package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"golang.org/x/sync/errgroup"
)

// disk streams ten times what the cache may hold, and looks all the time at how
// much room it takes.
func disk() Case {
	return Case{
		Name: "disk", About: "ten times the cache's size streamed through a mount; disk used, looked at every 100 ms",
		Systems: []string{weirSystem}, Limit: 60 * time.Second, Once: true,
		Figures: []Figure{
			{Name: "over the bound", Unit: Bytes},
			{Name: "used by bound", Unit: Ratio, Bar: Bar{Most: 1}},
			{Name: "rate", Unit: BytesPerSec},
		},
		Run: func(r *Run) (Values, error) {
			limit := int64(64 * mib)
			if r.o.Quick {
				limit = 16 * mib
			}
			sw, err := r.seed(r.wire("loopback"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 2})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, "", "--cache-size="+fmt.Sprint(limit, "B"))
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			var most int64
			done := errors.New("done")
			ctx, stop := context.WithCancelCause(r.ctx)
			defer stop(done)
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error {
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					most = max(most, diskUsed(filepath.Join(r.dir, "cache")))
					select {
					case <-tick.C:
					case <-ctx.Done():
						return nil
					}
				}
			})
			begin := time.Now()
			var n int64
			g.Go(func() error {
				defer stop(done)
				for n < 10*limit {
					f, err := os.Open(p.Path()) // the kernel's pages would answer the next time
					if err != nil {
						return err
					}
					if err := dropFile(f); err != nil {
						return err
					}
					k, err := readOn(f, 10*limit-n, func(int) error { return nil })
					f.Close()
					if n += k; err != nil {
						return err
					}
				}
				return nil
			})
			if err := g.Wait(); err != nil {
				return nil, err
			}
			bound := float64(limit)*1.05 + 64*mib
			return Values{
				"over the bound": max(0, float64(most)-bound), "used by bound": float64(most) / bound,
				"rate": float64(n) / time.Since(begin).Seconds(),
			}, nil
		},
	}
}

// diskUsed returns what du would say of a folder. Files that go away meanwhile
// don't count.
func diskUsed(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}
