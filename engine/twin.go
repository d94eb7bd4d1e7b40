package engine

import (
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// A hybrid torrent is in two swarms (BEP 52), under its v1 hash and under its v2 hash
// cut to 20 bytes. Pieces, blocks and metadata are the same in both; requests for
// hashes belong to connections that were made under the v2 hash.

// answerHash returns the info hash to answer a handshake with: that of the v2 swarm for a
// peer that asks to be taken there.
func answerHash(n *source.Names, hello wire.Hello) weir.InfoHash {
	if n.Hybrid() && hello.InfoHash == n.V1 && hello.UpgradesToV2() {
		return n.V2
	}
	return hello.InfoHash
}

// learnNames takes what the source, and later the metadata, says of them.
func (t *Torrent) learnNames(n source.Names) {
	t.names.Store(&n)
}

// named returns the torrent that goes by a name.
func (e *Engine) named(ih weir.InfoHash) (*Torrent, bool) {
	if t, ok := e.Torrent(ih); ok {
		return t, true
	}
	for _, t := range e.Torrents() {
		if t.names.Load().Has(ih) {
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
		if !n.Hybrid() {
			return
		}
		spec, err := (&source.Spec{InfoHash: n.V2}).WithInfo(m.dict.read(c.readDictionary))
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
	if m.layers == nil || !n.Hybrid() {
		return nil
	}
	spec, err := (&source.Spec{InfoHash: n.V2}).WithInfo(dict)
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
