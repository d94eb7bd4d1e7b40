// Package web measures torrents whose bytes come from a web server (BEP 19), beside
// curl on the same line in the same run.
package web

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// alone is a web seed of 20 MB/s, 50 ms away, without any peer.
func alone() testbed.Seeding {
	return testbed.Seeding{Web: "/", Delay: suite.HalfTrip, WebBytesPerSec: suite.Rate20}
}

// curl runs curl and returns how long it took, the start of the process included.
func curl(r *suite.Run, args ...string) (time.Duration, error) {
	if _, err := exec.LookPath("curl"); err != nil {
		return 0, suite.Absent("curl is not installed")
	}
	begin := time.Now()
	_, err := r.Output("curl", append([]string{"--silent", "--show-error", "--fail", "--noproxy", "*"}, args...)...)
	return time.Since(begin), err
}

// ranged makes curl get a range of a URL and drop it.
func ranged(r *suite.Run, url string, off, length int64) (time.Duration, error) {
	return curl(r, "--range", fmt.Sprintf("%d-%d", off, off+length-1), "--output", "/dev/null", url)
}
