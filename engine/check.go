package engine

import (
	"errors"
	"fmt"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// Checker compares pieces with the metadata that an engine left in its Store's
// records. It needs no engine. It keeps one torrent in memory at a time: ask for
// pieces torrent by torrent. It is for one goroutine.
type Checker struct {
	records Records
	ih      weir.InfoHash
	meta    *metainfo
	err     error // why there is no meta
}

// NewChecker returns a Checker of what stands in records.
func NewChecker(records Records) *Checker { return &Checker{records: records} }

// Check hashes a piece. The error wraps weir.ErrCorrupt when data is not the
// piece, and weir.ErrNotFound when that can't be said: the torrent's metadata, or
// a v2 torrent's hashes, are not in the records or damaged there.
func (c *Checker) Check(id weir.PieceID, data []byte) error {
	if c.meta == nil && c.err == nil || id.Torrent != c.ih {
		c.ih = id.Torrent
		c.meta, c.err = loadMetainfo(c.records, id.Torrent)
	}
	if c.err != nil {
		return c.err
	}
	switch {
	case id.Index < 0 || id.Index >= c.meta.info.NumPieces():
		return fmt.Errorf("%s: the torrent has %d pieces: %w", id, c.meta.info.NumPieces(), weir.ErrCorrupt)
	case !c.meta.hashes.Known(id.Index):
		return weir.Errorf(weir.ErrNotFound, "the hash of piece %s is not known", id)
	case !c.meta.hashes.Check(id.Index, [][]byte{data}):
		return fmt.Errorf("%s: %w", id, weir.ErrCorrupt)
	}
	return nil
}

// loadMetainfo reads the metadata of a torrent and all that is known of its
// hashes. Every error wraps weir.ErrNotFound.
func loadMetainfo(records Records, ih weir.InfoHash) (*metainfo, error) {
	b, err := readDictionary(records, ih)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w: %v", ih, weir.ErrNotFound, err)
	}
	spec, err := (&source.Spec{InfoHash: ih}).WithInfo(b)
	if err != nil {
		return nil, fmt.Errorf("metadata in the cache: %w: %v", weir.ErrNotFound, err)
	}
	m, err := newMetainfo(spec)
	if err != nil {
		return nil, fmt.Errorf("metadata in the cache: %w: %v", weir.ErrNotFound, err)
	}
	_ = loadLayers(records, ih, m) // without them fewer pieces are known
	return m, nil
}

// loadLayers takes the piece layers of a v2 torrent from the records, as far as
// they are needed and there.
func loadLayers(records Records, ih weir.InfoHash, m *metainfo) error {
	if !m.info.V2 {
		return nil
	}
	var errs []error
	for f := range m.info.Files {
		r := m.info.Files[f].Range()
		if r.Len() <= m.info.PieceLength || m.info.Files[f].Padding {
			continue
		}
		if first, _ := m.info.Pieces(r); m.hashes.Known(first) {
			continue
		}
		layer, err := records.Record(LayersBucket, layerKey(ih, f))
		if err == nil {
			err = m.hashes.SetLayer(f, layer)
		}
		if err != nil && !errors.Is(err, weir.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
