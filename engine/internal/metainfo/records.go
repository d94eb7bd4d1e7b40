package metainfo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// MetadataBucket has the info dictionaries, by info hash.
const MetadataBucket = "metadata"

// LayersBucket has the piece layers of files of v2 torrents, by info hash and file index.
const LayersBucket = "layers"

func layerKey(ih weir.InfoHash, file int) []byte {
	return binary.BigEndian.AppendUint32(slices.Clone(ih[:]), uint32(file))
}

// Records are what is read of a Store's records.
type Records interface {
	// Record returns an error that wraps weir.ErrNotFound if there is none.
	Record(bucket string, key []byte) ([]byte, error)
}

// Store is where records are read and written. It may wait for a disk.
type Store interface {
	Records
	PutRecord(bucket string, key, value []byte) error
}

// readDictionary reads an info dictionary that was left in the records. Whether it
// is right, the caller must see.
func readDictionary(records Records, ih weir.InfoHash) ([]byte, error) {
	b, err := records.Record(MetadataBucket, ih[:])
	if err != nil {
		return nil, err
	}
	return unpackDictionary(b)
}

// load reads the metadata of a torrent and all that is known of its
// hashes. Every error wraps weir.ErrNotFound.
func load(records Records, ih weir.InfoHash) (*Metainfo, error) {
	b, err := readDictionary(records, ih)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w: %v", ih, weir.ErrNotFound, err)
	}
	spec, err := (&source.Spec{InfoHash: ih}).WithInfo(b)
	if err != nil {
		return nil, fmt.Errorf("metadata in the cache: %w: %v", weir.ErrNotFound, err)
	}
	m, err := New(spec)
	if err != nil {
		return nil, fmt.Errorf("metadata in the cache: %w: %v", weir.ErrNotFound, err)
	}
	_ = loadLayers(records, ih, m) // without them fewer pieces are known
	return m, nil
}

// loadLayers takes the piece layers of a v2 torrent from the records, as far as
// they are needed and there.
func loadLayers(records Records, ih weir.InfoHash, m *Metainfo) error {
	if !m.Info.V2 {
		return nil
	}
	var errs []error
	for f := range m.Info.Files {
		r := m.Info.Files[f].Range()
		if r.Len() <= m.Info.PieceLength || m.Info.Files[f].Padding {
			continue
		}
		if first, _ := m.Info.Pieces(r); m.Hashes.Known(first) {
			continue
		}
		layer, err := records.Record(LayersBucket, layerKey(ih, f))
		if err == nil {
			err = m.Hashes.SetLayer(f, layer)
		}
		if err != nil && !errors.Is(err, weir.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
