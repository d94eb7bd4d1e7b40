package web

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir/cmd/proof/bench/program"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Sequential reads a file of a gigabyte from its beginning, so many bytes of it.
func Sequential(name string, bytes int64) suite.Case {
	return suite.Case{
		Name: name, About: fmt.Sprintf("one file, cold, from the beginning: %s, a web seed of 20 MB/s alone, 50 ms", suite.Bytes.Format(float64(bytes))),
		Systems: []string{suite.Weir, suite.Curl}, Limit: 120 * time.Second, Once: bytes == suite.GiB, Aside: bytes == suite.GiB,
		Figures: []suite.Figure{
			{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.Curl, Bar: suite.Bar{LeastOf: 0.97}},
			{Name: "processor time a GB", Unit: suite.Seconds},
			{Name: "requests", Unit: suite.Count},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec = r.Gigabyte()
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			size := min(bytes, sw.Info().Length)
			if r.System == suite.Curl {
				took, err := ranged(r, sw.Web+sw.Spec.Name, 0, size)
				return suite.Values{"rate": float64(size) / took.Seconds()}, err
			}
			v, err := readOn(r, sw, size)
			if err != nil {
				return nil, err
			}
			n, err := sw.Wire.Hosts().Web(r.Ctx)
			v["requests"] = float64(n.Requests)
			return v, err
		},
	}
}

// readOn reads a file from its beginning.
func readOn(r *suite.Run, sw *suite.Swarm, size int64) (suite.Values, error) {
	p, f, err := r.Open(sw)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(p, f, size)
}

func readOpen(p *program.Process, f *os.File, size int64) (suite.Values, error) {
	cpu, begin := p.CPU(), time.Now()
	n, err := suite.ReadOn(f, size, func(int) error { return nil })
	if err != nil {
		return nil, err
	}
	return suite.Values{
		"rate": float64(n) / time.Since(begin).Seconds(), "processor time a GB": (p.CPU() - cpu).Seconds() / float64(n) * 1e9,
	}, nil
}

// Bounded reads from an nginx that bounds the rate of each connection. The limit is one
// connection of curl.
func Bounded() suite.Case {
	const bytesPerSec, seconds = 4_000_000, 20
	return suite.Case{
		Name: "web/bounded", About: "one file, cold, for 20 s from the beginning: nginx that sends 4 MB/s over each connection",
		Systems: []string{suite.Weir, suite.Curl}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.Curl, Bar: suite.Bar{LeastOf: 2.5}}},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, n, err := seedNginx(r, bytesPerSec)
			if err != nil {
				return nil, err
			}
			defer n.close()
			if r.System == suite.Curl {
				const size = bytesPerSec * 5
				took, err := ranged(r, sw.Web+sw.Spec.Name, 0, size)
				return suite.Values{"rate": size / took.Seconds()}, err
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			begin := time.Now()
			got, err := suite.ReadOn(f, sw.Info().Length, func(int) error {
				if time.Since(begin) > seconds*time.Second {
					return suite.ErrEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, suite.ErrEnough) {
				return nil, err
			}
			return suite.Values{"rate": float64(got) / time.Since(begin).Seconds()}, nil
		},
	}
}

// seedNginx is nginx alone with a gigabyte.
func seedNginx(r *suite.Run, bytesPerSec int) (*suite.Swarm, *nginx, error) {
	sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: r.Gigabyte(), Web: "/"})
	if err != nil {
		return nil, nil, err
	}
	n, err := openNginx(r, bytesPerSec)
	if err != nil {
		return nil, nil, err
	}
	if err := sw.MoveWeb(n.url); err != nil {
		n.close()
		return nil, nil, err
	}
	return sw, n, nil
}

// Loopback reads a gigabyte from nginx, where the line costs nothing. The limit is
// curl and then SHA-1 of it, which is what weir has to do, too.
func Loopback() suite.Case {
	return suite.Case{
		Name: "web/sequential/loopback", About: "one file of a gigabyte, cold, from the beginning: nginx on loopback alone",
		Systems: []string{suite.Weir, suite.Curl}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.Curl, Bar: suite.Bar{LeastOf: 0.8}},
			{Name: "processor time a GB", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, n, err := seedNginx(r, 0)
			if err != nil {
				return nil, err
			}
			defer n.close()
			size := sw.Info().Length
			if r.System == suite.Weir {
				return readOn(r, sw, size)
			}
			fetching, err := curl(r, "--output", "/dev/null", sw.Web+sw.Spec.Name)
			if err != nil {
				return nil, err
			}
			hashing, err := hash(filepath.Join(r.Testbed.Data, sw.Spec.Name))
			return suite.Values{"rate": float64(size) / (fetching + hashing).Seconds()}, err
		},
	}
}

// hash returns how long SHA-1 of a file takes.
func hash(name string) (time.Duration, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	begin, h := time.Now(), sha1.New()
	_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, suite.MiB))
	return time.Since(begin), err
}

// BesidePeers reads from a web seed and four peers at once. The limit is the sum of
// what each gives by HTTP.
func BesidePeers() suite.Case {
	const bytes = 320 * suite.MiB
	return suite.Case{
		Name: "web/beside-peers", About: "one file, cold, from the beginning: a web seed of 20 MB/s and 4 peers of 5 MB/s, 50 ms",
		Systems: []string{suite.Weir, suite.HTTP}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.HTTP, Bar: suite.Bar{LeastOf: 0.95}},
			{Name: "from the web", Unit: suite.Bytes},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec, s.Hosts, s.BytesPerSec = r.Gigabyte(), 4, suite.Rate5
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			size := min(bytes, sw.Info().Length)
			if r.System == suite.Weir {
				v, err := readOn(r, sw, size)
				if err != nil {
					return nil, err
				}
				n, err := sw.Wire.Hosts().Web(r.Ctx)
				v["from the web"] = float64(n.Bytes)
				return v, err
			}
			var g errgroup.Group // at the same time, and each to its end
			var peers suite.Values
			var took time.Duration
			g.Go(func() (err error) {
				peers, err = r.ParallelHTTP(sw, 4, size/2)
				return err
			})
			g.Go(func() (err error) {
				took, err = ranged(r, sw.Web+sw.Spec.Name, 0, size/2)
				return err
			})
			err = g.Wait()
			return suite.Values{"rate": peers["rate"] + float64(size/2)/took.Seconds()}, err
		},
	}
}
