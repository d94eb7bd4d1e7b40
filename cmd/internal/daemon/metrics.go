package daemon

import (
	"time"

	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/cmd/internal/metrics"
)

// totals are the counters of removed torrents: a counter must never go down.
type totals struct {
	downloaded, web, uploaded, wasted, unasked, hedged, verified, failed int64
}

// add adds those of a torrent, with what it gave and got in former runs.
func (t *totals) add(e *entry, all catalogue.Totals) {
	s := e.Stats()
	t.downloaded += all.Downloaded
	t.uploaded += all.Uploaded
	t.wasted += s.Wasted
	t.unasked += s.Unasked
	t.web += s.FromWeb
	t.hedged += s.Hedged
	t.verified += s.Verified
	t.failed += s.Failed
}

// samples are the figures of the whole mount.
func (v *view) samples() []metrics.Sample {
	list := v.torrents.list()
	v.torrents.mu.RLock()
	sum := v.torrents.removed
	v.torrents.mu.RUnlock()
	states := map[string]float64{}
	peers := 0
	for _, e := range list {
		s := e.Stats()
		states[string(e.state(s))]++
		peers += s.Peers
		sum.add(e, v.torrents.sharing.Of(e.InfoHash()))
	}
	waits := v.fs.Waiting()
	longest := time.Duration(0)
	for _, w := range waits {
		longest = max(longest, time.Since(w.Since))
	}
	c := v.cache.Stat()
	count := func(name, help string, v int64) metrics.Sample {
		return metrics.Sample{Name: name, Help: help, Counter: true, Value: float64(v)}
	}
	gauge := func(name, help string, v float64) metrics.Sample {
		return metrics.Sample{Name: name, Help: help, Value: v}
	}
	return []metrics.Sample{
		{Name: "torrents", Help: "Torrents in the mount, by what they do.", Label: "state", By: states},
		gauge("announced_torrents", "Torrents that are announced though nothing here uses them.", float64(v.engine.Announced())),
		gauge("peers", "Connected peers of all torrents.", float64(peers)),
		count("downloaded_bytes_total", "Bytes of blocks received from peers and web servers, in all runs.", sum.downloaded),
		count("web_bytes_total", "Bytes received from web servers.", sum.web),
		count("uploaded_bytes_total", "Bytes of blocks sent to peers, in all runs.", sum.uploaded),
		count("wasted_bytes_total", "Bytes of blocks received twice, too late, or never asked for.", sum.wasted),
		count("unasked_bytes_total", "Bytes of these, of blocks never asked for.", sum.unasked),
		count("hedged_blocks_total", "Blocks asked of a second peer.", sum.hedged),
		count("verified_pieces_total", "Pieces that were right.", sum.verified),
		count("failed_pieces_total", "Pieces that were wrong.", sum.failed),
		gauge("open_files", "Files of the mount that programs have open.", float64(len(v.fs.Handles()))),
		gauge("waiting_requests", "Requests of programs that wait.", float64(len(waits))),
		gauge("longest_wait_seconds", "How long the oldest of them has waited.", longest.Seconds()),
		gauge("cache_pieces", "Verified pieces in the cache.", float64(c.Pieces)),
		gauge("cache_bytes", "Bytes in these pieces.", float64(c.Bytes)),
		gauge("cache_disk_bytes", "Bytes that the cache takes on the disk.", float64(c.DiskBytes)),
		gauge("cache_limit_bytes", "Bytes that it may take.", float64(c.LimitBytes)),
		gauge("cache_pinned_bytes", "Bytes that pins reserve.", float64(c.PinnedBytes)),
		count("cache_hits_total", "Reads that the cache answered.", c.Hits),
		count("cache_misses_total", "Reads that it did not.", c.Misses),
		count("cache_evicted_pieces_total", "Pieces dropped to make room.", c.Evictions),
		count("cache_damaged_pieces_total", "Pieces found damaged on the disk, and dropped.", c.Damaged),
	}
}
