package source

import (
	"fmt"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/source/merkle"
)

// pieceLayers are the "piece layers" of a .torrent (BEP 52): for each file of
// more than one piece, the hashes of its pieces, found by the file's root.
type pieceLayers struct {
	byRoot map[[merkle.Size]byte]pieceLayer
}

// pieceLayer is one of them.
type pieceLayer struct {
	hashes  []byte // part of the input
	checked bool   // it leads to its root; files of the same content share it
}

// readPieceLayers reads the dictionary, or returns nil if raw is nil. The hashes are
// checked later, for the files of the torrent only.
func readPieceLayers(raw []byte) (*pieceLayers, error) {
	if raw == nil {
		return nil, nil
	}
	p := &pieceLayers{byRoot: make(map[[merkle.Size]byte]pieceLayer)}
	c := bencode.NewMetainfo(raw)
	err := c.Dict(func(key []byte) error {
		hashes, err := optStr(c)
		if err != nil || len(key) != merkle.Size {
			return err
		}
		root := [merkle.Size]byte(key)
		if _, ok := p.byRoot[root]; ok {
			return weir.Errorf(weir.ErrHostile, "root %x is there twice", root)
		}
		// Shorter ones are never needed, and millions of them would take memory.
		if len(hashes) >= 2*merkle.Size {
			p.byRoot[root] = pieceLayer{hashes: hashes}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("piece layers: %w", err)
	}
	return p, nil
}

// of returns the hashes of the pieces of f, which has more than one, after checking them
// against its root. They are part of the input; nil means that they are missing or
// incomplete, and peers must be asked.
func (p *pieceLayers) of(f *treeFile, pieceLength int64) ([]byte, error) {
	if p == nil {
		return nil, nil
	}
	layer := p.byRoot[f.root]
	if int64(len(layer.hashes)) != f.pieces(pieceLength)*merkle.Size {
		return nil, nil
	}
	if !layer.checked {
		if merkle.LayerRoot(layer.hashes, layerOfPieces(pieceLength)) != f.root {
			return nil, weir.Errorf(weir.ErrHostile, "has a piece layer that does not lead to its root")
		}
		layer.checked = true
		p.byRoot[f.root] = layer
	}
	return layer.hashes, nil
}

// layerOfPieces returns the layer of a tree whose hashes stand for one piece each.
func layerOfPieces(pieceLength int64) int { return merkle.Depth(pieceLength / merkle.LeafBytes) }
