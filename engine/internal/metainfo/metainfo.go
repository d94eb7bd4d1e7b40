// Package metainfo holds what a torrent is once its metadata is known: its shape, its
// info dictionary, the hashes of its pieces and the names that it goes by. All of that
// is in memory while it is used, and in the records otherwise: of ten thousand torrents
// a handful are in use, and an info dictionary with its hashes is 50 KB for a film and
// 50 MB for a big dataset.
//
// No peer, no message and no bytes of a piece live here: internal/metadata decides whom
// to ask for a dictionary, and the swarm asks.
package metainfo

import (
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/source"
)

// Metainfo is what is known of a torrent with metadata. It is safe for concurrent use.
type Metainfo struct {
	Info   *weir.TorrentInfo
	Hashes *verify.Hashes

	dict   dictionary // for peers that ask
	names  source.Names
	layers []byte // of a hybrid torrent that is taken as v1: source.Spec.LayerHashes
	v2     v2Half

	layersDue atomic.Bool // the records, which were not ready, may have hashes of a v2 torrent
}

// v2Half is what is known of the v2 half of a hybrid torrent that is taken as v1, made
// when a peer first asks for hashes of it.
type v2Half struct {
	once   sync.Once
	hashes *verify.Hashes // nil if there is none
}

// New takes the metadata of a spec that has it.
func New(spec *source.Spec) (*Metainfo, error) {
	hashes, err := verify.New(spec.Info, spec.PieceHashes, spec.Roots)
	if err != nil {
		return nil, err
	}
	return &Metainfo{
		Info: spec.Info, Hashes: hashes, dict: newDictionary(spec.InfoBytes), names: spec.Names(), layers: spec.LayerHashes,
	}, nil
}

// DictionaryBytes is the size of the info dictionary.
func (m *Metainfo) DictionaryBytes() int { return m.dict.size }

// size estimates the memory that the metadata takes.
func (m *Metainfo) size() int64 {
	const perFile = 150
	return int64(len(m.dict.held())) + int64(m.dict.size) + int64(len(m.Info.Files))*perFile
}
