package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
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

// smallFiles lets tar read a folder of small files. The limit is one file of the
// same line by HTTP.
func smallFiles() Case {
	return Case{
		Name: "small-files", About: "10,000 files of 64 KiB with tar, 4 hosts × 5 MB/s, 50 ms",
		Systems: []string{weirSystem, httpSystem, btfsSystem}, Limit: 60 * time.Second, Once: true,
		Figures: []Figure{{Name: "rate", Unit: BytesPerSec, Reference: httpSystem, Bar: Bar{LeastOf: 0.9}}},
		Run: func(r *Run) (Values, error) {
			spec := many("small", 10_000, 64*kib, mib)
			if r.o.Quick {
				spec = many("quick-small", 200, 8*kib, 128*kib)
			}
			s := testbed.Seeding{Spec: spec, Hosts: 4, Delay: halfTrip, BytesPerSec: rate5}
			if r.system == httpSystem {
				s.Spec = r.gigabyte()
			}
			sw, err := r.seed(r.wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			if r.system == httpSystem {
				return r.parallelHTTP(sw, 4, min(160*mib, sw.Info().Length))
			}
			p, err := r.start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			limit := 50 * time.Second
			if r.system != weirSystem {
				limit = 10 * time.Second // its rate is known then
			}
			begin := time.Now()
			n, err := r.archive(p.Path(), limit)
			if err != nil && !errors.Is(err, errEnough) {
				return nil, err
			}
			if r.system == weirSystem && err == nil && n < sw.Info().Length {
				return nil, fmt.Errorf("the archive has %d bytes of %d", n, sw.Info().Length)
			}
			return Values{"rate": float64(min(n, sw.Info().Length)) / time.Since(begin).Seconds()}, nil
		},
	}
}

// archive lets tar read a folder, for as long as limit allows, and returns how
// long the archive became. It goes through a pipe: what goes to /dev/null is not
// read by tar at all.
func (r *Run) archive(dir string, limit time.Duration) (n int64, err error) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, limit, errEnough)
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
