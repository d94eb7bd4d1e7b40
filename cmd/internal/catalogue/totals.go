package catalogue

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// totalsBucket has what torrents gave and got in all runs: 16 records, each for the
// torrents whose info hashes begin with the same four bits. One record for each torrent
// would be a sync for each.
const totalsBucket = "totals"

// Totals are what a torrent gave and got in all runs.
type Totals struct {
	Uploaded, Downloaded int64         // bytes of blocks
	Seeded               time.Duration // while it was complete, and given to whoever asks
}

// Add returns the sum of two.
func (t Totals) Add(o Totals) Totals {
	return Totals{t.Uploaded + o.Uploaded, t.Downloaded + o.Downloaded, t.Seeded + o.Seeded}
}

// totalsVersion begins each record; totalsBytes is the length of one torrent in it.
const (
	totalsVersion = 1
	totalsBytes   = len(weir.InfoHash{}) + 3*8
)

// Totals returns those of all torrents. A record that is damaged is logged and left out.
func (c *Catalogue) Totals(log *slog.Logger) (map[weir.InfoHash]Totals, error) {
	all := map[weir.InfoHash]Totals{}
	if c.ephemeral {
		return all, nil
	}
	err := c.cache.EachRecord(totalsBucket, func(_, value []byte) error {
		if err := parseTotals(value, all); err != nil {
			log.Warn("totals of some torrents are lost", "err", err)
		}
		return nil
	})
	return all, err
}

// PutTotals sets the totals of all torrents, and writes the records in which one of changed
// stands.
func (c *Catalogue) PutTotals(all map[weir.InfoHash]Totals, changed []weir.InfoHash) error {
	if c.ephemeral {
		return nil
	}
	defer c.lock()()
	due := map[byte][]byte{}
	for _, ih := range changed {
		due[ih[0]>>4] = []byte{totalsVersion}
	}
	for ih, t := range all {
		if b, ok := due[ih[0]>>4]; ok {
			due[ih[0]>>4] = appendTotals(b, ih, t)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(due)) {
		if err := c.cache.PutRecord(totalsBucket, []byte{key}, due[key]); err != nil {
			return err
		}
	}
	return nil
}

func appendTotals(b []byte, ih weir.InfoHash, t Totals) []byte {
	b = append(b, ih[:]...)
	for _, n := range []int64{t.Uploaded, t.Downloaded, int64(t.Seeded / time.Second)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// parseTotals adds what stands in a record to all. The error wraps weir.ErrCorrupt.
func parseTotals(b []byte, all map[weir.InfoHash]Totals) error {
	if len(b) == 0 || b[0] != totalsVersion || (len(b)-1)%totalsBytes != 0 {
		return weir.Errorf(weir.ErrCorrupt, "record of totals: %d bytes of an unknown form", len(b))
	}
	for b = b[1:]; len(b) > 0; b = b[totalsBytes:] {
		var n [3]int64
		for i := range n {
			n[i] = max(0, int64(binary.BigEndian.Uint64(b[len(weir.InfoHash{})+8*i:])))
		}
		const most = int64(1<<63-1) / int64(time.Second)
		all[weir.InfoHash(b[:len(weir.InfoHash{})])] = Totals{n[0], n[1], time.Duration(min(n[2], most)) * time.Second}
	}
	return nil
}
