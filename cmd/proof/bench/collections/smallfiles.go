package collections

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// many returns a torrent of many small files, a hundred in each folder.
func many(name string, files int, fileBytes, pieceBytes int64) remotehosts.Spec {
	s := remotehosts.Spec{Name: name, PieceBytes: pieceBytes}
	for i := range files {
		s.Files = append(s.Files, remotehosts.File{
			Path: []string{fmt.Sprintf("folder-%04d", i/100), fmt.Sprintf("file-%06d.bin", i)}, Length: fileBytes, Seed: uint64(1000 + i),
		})
	}
	return s
}

// SmallFiles lets tar read a folder of small files. The limit is one file of the
// same line by HTTP.
func SmallFiles() suite.Case {
	return suite.Case{
		Name: "small-files", About: "10,000 files of 64 KiB with tar, 4 hosts × 5 MB/s, 50 ms",
		Systems: []string{suite.Weir, suite.HTTP, suite.BTFS}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.HTTP, Bar: suite.Bar{LeastOf: 0.9}}},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := many("small", 10_000, 64*suite.KiB, suite.MiB)
			if r.Options.Quick {
				spec = many("quick-small", 200, 8*suite.KiB, 128*suite.KiB)
			}
			s := testbed.Seeding{Spec: spec, Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate5}
			if r.System == suite.HTTP {
				s.Spec = r.Gigabyte()
			}
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			if r.System == suite.HTTP {
				return r.ParallelHTTP(sw, 4, min(160*suite.MiB, sw.Info().Length))
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			limit := 50 * time.Second
			if r.System != suite.Weir {
				limit = 10 * time.Second // its rate is known then
			}
			begin := time.Now()
			n, err := archive(r, p.Path(), limit)
			if err != nil && !errors.Is(err, suite.ErrEnough) {
				return nil, err
			}
			if r.System == suite.Weir && err == nil && n < sw.Info().Length {
				return nil, fmt.Errorf("the archive has %d bytes of %d", n, sw.Info().Length)
			}
			return suite.Values{"rate": float64(min(n, sw.Info().Length)) / time.Since(begin).Seconds()}, nil
		},
	}
}

// archive lets tar read a folder, for as long as limit allows, and returns how
// long the archive became. It goes through a pipe: what goes to /dev/null is not
// read by tar at all.
func archive(r *suite.Run, dir string, limit time.Duration) (n int64, err error) {
	ctx, cancel := context.WithTimeoutCause(r.Ctx, limit, suite.ErrEnough)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tar", "cf", "-", "-C", dir, ".")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n, err = io.Copy(io.Discard, out)
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return n, err
}
