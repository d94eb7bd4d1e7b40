package engine

import (
	"crypto/sha256"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// A hybrid torrent is in two swarms (BEP 52), under its v1 hash and under its v2 hash
// cut to 20 bytes. Pieces, blocks and metadata are the same in both; requests for
// hashes belong to connections that were made under the v2 hash.

// names are the info hashes that a torrent goes by; zero where it has none, or none
// that is known yet.
type names struct{ v1, v2 weir.InfoHash }

func namesOf(spec *source.Spec) names {
	n := names{v1: spec.InfoHash}
	if spec.InfoHashV2 != [sha256.Size]byte{} {
		if n.v2 = source.Truncate(spec.InfoHashV2); n.v1 == n.v2 {
			n.v1 = spec.InfoHashV1
		}
	}
	return n
}

func (n names) hybrid() bool { return !n.v1.IsZero() && !n.v2.IsZero() }

// has reports whether ih is one of the names.
func (n names) has(ih weir.InfoHash) bool { return !ih.IsZero() && (ih == n.v1 || ih == n.v2) }

// other returns the name beside ih, zero if there is none.
func (n names) other(ih weir.InfoHash) weir.InfoHash {
	if ih == n.v1 {
		return n.v2
	}
	return n.v1
}

// answer returns the name to answer a handshake with: that of the v2 swarm for a
// peer that asks to be taken there.
func (n names) answer(hello wire.Hello) weir.InfoHash {
	if n.hybrid() && hello.InfoHash == n.v1 && hello.UpgradesToV2() {
		return n.v2
	}
	return hello.InfoHash
}

// learnNames takes what the source, and later the metadata, says of them.
func (t *Torrent) learnNames(n names) {
	t.names.Store(&n)
}

// named returns the torrent that goes by a name.
func (e *Engine) named(ih weir.InfoHash) (*Torrent, bool) {
	if t, ok := e.Torrent(ih); ok {
		return t, true
	}
	for _, t := range e.Torrents() {
		if t.names.Load().has(ih) {
			return t, true
		}
	}
	return nil, false
}

// otherHalf is what is known of the v2 half of a hybrid torrent that is taken as v1,
// made when a peer first asks for hashes of it.
type otherHalf struct {
	once   sync.Once
	hashes *verify.Hashes // nil if there is none
}

// v2Hashes returns the hash trees of a torrent that has some. It may read the Store,
// and is not for the owner.
func (c *content) v2Hashes() *verify.Hashes {
	m := c.t.meta.Load()
	switch {
	case m == nil:
		return nil
	case m.info.V2:
		return m.hashes
	case !c.t.eng.storeReady():
		return nil
	}
	m.half.once.Do(func() {
		n := c.t.names.Load()
		if !n.hybrid() {
			return
		}
		spec, err := (&source.Spec{InfoHash: n.v2}).WithInfo(m.dict.read(c.readDictionary))
		if err != nil {
			c.log.Warn("the v2 half of a hybrid torrent can't be used", "err", err)
			return
		}
		if spec.PieceHashes == nil {
			spec.PieceHashes = m.layers
		}
		v2, err := newMetainfo(spec)
		if err == nil && spec.PieceHashes == nil {
			err = loadLayers(c.t.eng.opts.Store, c.t.ih, v2)
		}
		if err != nil {
			c.log.Warn("hashes of a hybrid torrent can't be told", "err", err)
		}
		if v2 != nil {
			m.half.hashes = v2.hashes
		}
	})
	return m.half.hashes
}

// storeLayers leaves the piece layers of a hybrid torrent in the Store.
func (t *Torrent) storeLayers(m *metainfo, dict []byte) error {
	n := t.names.Load()
	if m.layers == nil || !n.hybrid() {
		return nil
	}
	spec, err := (&source.Spec{InfoHash: n.v2}).WithInfo(dict)
	if err != nil {
		return nil // only the v1 half is of use
	}
	spec.PieceHashes = m.layers
	v2, err := newMetainfo(spec)
	if err != nil {
		return nil
	}
	for f := range v2.info.Files {
		if layer := v2.hashes.Layer(f); layer != nil {
			if err := t.eng.opts.Store.PutRecord(LayersBucket, layerKey(t.ih, f), layer); err != nil {
				return err
			}
		}
	}
	return nil
}
