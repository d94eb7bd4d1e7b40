package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Disk streams ten times what the cache may hold, and looks all the time at how
// much room it takes.
func Disk() suite.Case {
	return suite.Case{
		Name: "disk", About: "ten times the cache's size streamed through a mount; disk used, looked at every 100 ms",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "over the bound", Unit: suite.Bytes},
			{Name: "used by bound", Unit: suite.Ratio, Bar: suite.Bar{Most: 1}},
			{Name: "rate", Unit: suite.BytesPerSec},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			limit := int64(64 * suite.MiB)
			if r.Options.Quick {
				limit = 16 * suite.MiB
			}
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 2})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "", "--cache-size="+fmt.Sprint(limit, "B"))
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			var most int64
			done := errors.New("done")
			ctx, stop := context.WithCancelCause(r.Ctx)
			defer stop(done)
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error {
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					most = max(most, diskUsed(filepath.Join(r.Dir, "cache")))
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
					if err := suite.DropFile(f); err != nil {
						return err
					}
					k, err := suite.ReadOn(f, 10*limit-n, func(int) error { return nil })
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
			bound := float64(limit)*1.05 + 64*suite.MiB
			return suite.Values{
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
