package reading

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// RandomReads reads at random, each read in a piece that was not touched before,
// from four hosts 50 ms away. The limit is the same pieces by bare block requests.
func RandomReads(name string, readBytes int64, p50, p95 float64, beside ...string) suite.Case {
	return suite.Case{
		Name: name, About: "reads at random, 4 hosts × 12.5 MB/s, 50 ms, connections warm, pieces of 4 MiB",
		Systems: append([]string{suite.Weir}, beside...), Limit: 40 * time.Second,
		Figures: []suite.Figure{
			{Name: "p50", Unit: suite.Seconds, Reference: suite.Raw, Bar: suite.Bar{Most: p50}},
			{Name: "p95", Unit: suite.Seconds, Reference: suite.Raw, Bar: suite.Bar{Most: p95}},
			{Name: "longest", Unit: suite.Seconds, Reference: suite.Raw},
			{Name: "fetched by pieces touched", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.02}},
			{Name: "fetched by read", Unit: suite.Ratio},
		},
		Run: func(r *suite.Run) (suite.Values, error) { return readAtRandom(r, readBytes) },
	}
}

func readAtRandom(r *suite.Run, readBytes int64) (suite.Values, error) {
	sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
	if err != nil {
		return nil, err
	}
	info := sw.Info()
	warm, n := suite.WarmReads, 45
	if r.Options.Quick {
		warm, n = 2, 5
	}
	at := suite.Offsets(42, info.NumPieces(), info.PieceLength, readBytes, warm+n)
	var read func(off int64) error
	if r.System == suite.Raw {
		s, err := raw.DialAll(r.Ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		read = func(off int64) error { return s.Piece(r.Ctx, info, int(off/info.PieceLength)) }
	} else {
		_, f, err := r.Open(sw)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		read = r.Reads(sw, f, readBytes)
	}
	count := 0
	took, err := suite.Timed(at, warm, 14*time.Second, func(off int64) error {
		count++
		return read(off)
	})
	if err != nil {
		return nil, err
	}
	v := suite.Latencies(took)
	if r.System != suite.Raw {
		sent, err := r.Fetched(sw)
		if err != nil {
			return v, err
		}
		n := float64(count)
		v["fetched by pieces touched"] = sent / (n * float64(info.PieceLength))
		v["fetched by read"] = sent / (n * float64(readBytes))
	}
	return v, nil
}
