package daemon

import (
	"context"

	"github.com/weirfs/weir"
)

// target is what a path names in one torrent.
type target struct {
	*entry
	info   *weir.TorrentInfo
	inside string       // beneath the torrent's folder, as it is shown; "" for all
	names  []string     // the same, as the torrent has it
	ranges []weir.Range // of files, in torrent order, neighbours joined
	bytes  int64        // in them, padding between them included
}

// held returns how many of the bytes are held.
func (t *target) held() int64 {
	sum := int64(0)
	for _, r := range t.ranges {
		sum += t.store.HeldBytes(t.info, r)
	}
	return sum
}

// runs returns the pieces that the ranges touch, as sorted and disjoint first … end-1.
func (t *target) runs() [][2]int {
	var runs [][2]int
	for _, r := range t.ranges {
		first, end := t.info.Pieces(r)
		switch n := len(runs); {
		case first == end:
		case n > 0 && first <= runs[n-1][1]:
			runs[n-1][1] = max(runs[n-1][1], end)
		default:
			runs = append(runs, [2]int{first, end})
		}
	}
	return runs
}

// resolve returns what is to be fetched at a path, waiting for the metadata of those
// torrents. Of a whole torrent that is what its magnet selects (BEP 53).
func (c *content) resolve(ctx context.Context, p string, waiting func(*entry)) ([]*target, error) {
	list, inside, err := c.torrents.find(p)
	if err != nil {
		return nil, err
	}
	var targets []*target
	for _, e := range list {
		if e.Info() == nil {
			waiting(e)
		}
		info, err := e.WaitInfo(ctx)
		if err != nil {
			return nil, err
		}
		t, err := c.locateSelected(e, info, inside)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// locateSelected is locate, but of a whole torrent it is what its magnet selects.
func (c *content) locateSelected(e *entry, info *weir.TorrentInfo, inside string) (*target, error) {
	if only := e.SelectOnly(); only != nil && inside == "" {
		return newTarget(e, info, only), nil
	}
	return c.locate(e, info, inside)
}

// resolveKnown returns what a path names, found with locate, and separately the torrents
// whose metadata is not known, in which the path is inside.
func (c *content) resolveKnown(p string, locate func(e *entry, info *weir.TorrentInfo, inside string) (*target, error)) (targets []*target, unknown []*entry, inside string, err error) {
	list, inside, err := c.torrents.find(p)
	if err != nil {
		return nil, nil, "", err
	}
	for _, e := range list {
		info := e.Info()
		if info == nil {
			unknown = append(unknown, e)
			continue
		}
		t, err := locate(e, info, inside)
		if err != nil {
			return nil, nil, "", err
		}
		targets = append(targets, t)
	}
	return targets, unknown, inside, nil
}

// locate returns what is at a path beneath a torrent's folder, by the names that the
// mount shows.
func (c *content) locate(e *entry, info *weir.TorrentInfo, inside string) (*target, error) {
	if inside == "" { // every file, without building the tree
		t := &target{entry: e, info: info}
		for i := range info.Files {
			t.add(&info.Files[i])
		}
		return t, nil
	}
	at, err := c.fs.Locate(e.InfoHash(), inside)
	if err != nil {
		return nil, err
	}
	t := newTarget(e, info, at.Files)
	t.inside, t.names = at.Path, at.Names
	return t, nil
}

// newTarget names some of the files, by their sorted indexes.
func newTarget(e *entry, info *weir.TorrentInfo, files []int) *target {
	t := &target{entry: e, info: info}
	for _, i := range files {
		t.add(&info.Files[i])
	}
	return t
}

// add appends a file, which lies behind those before, unless it isn't shown.
func (t *target) add(f *weir.FileInfo) {
	if !f.Shown() {
		return
	}
	r := f.Range()
	switch n := len(t.ranges); {
	case r.Empty():
	case n > 0 && t.ranges[n-1].End == r.Off:
		t.ranges[n-1].End = r.End
	default:
		t.ranges = append(t.ranges, r)
	}
	t.bytes += r.Len()
}
