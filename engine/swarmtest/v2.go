package swarmtest

import (
	"crypto/sha256"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
)

// Version says what a torrent is made for.
type Version int

// The versions.
const (
	V1     Version = iota // BEP 3
	V2                    // BEP 52 only
	Hybrid                // both: Info, InfoHash and PieceHashes are of the v1 half
)

// hash2 is a SHA-256.
type hash2 = [sha256.Size]byte

// fileTree is the hash tree of one file (BEP 52), all of it: rows[0] are the
// hashes of its blocks, padded with zeros to a power of two, the last row is the
// root.
type fileTree struct {
	rows [][]hash2
	real int // blocks that the file has
}

func (t *fileTree) root() hash2 { return t.rows[len(t.rows)-1][0] }

// layer returns the hashes of the pieces of a file that has more than one, without
// those behind its end; else nil.
func (t *fileTree) layer(blocksPerPiece int) []hash2 {
	n := (t.real + blocksPerPiece - 1) / blocksPerPiece
	if n < 2 {
		return nil
	}
	return t.rows[bits.Len(uint(blocksPerPiece-1))][:n]
}

// contentV2 is what a content has for BEP 52.
type contentV2 struct {
	trees    []*fileTree // one for each of info.Files; nil for those without a tree
	byRoot   map[hash2]*fileTree
	infoHash hash2
}

// sortFiles brings the files into the order of a file tree, where dictionaries have
// their keys sorted.
func sortFiles(files []File) []File {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return slices.Compare(a.Path, b.Path) })
	return files
}

// checkV2 refuses what BEP 52 does not allow.
func (o *ContentOptions) checkV2() error {
	if n := o.PieceLength; n < weir.BlockBytes || n&(n-1) != 0 {
		return weir.Errorf(weir.ErrInvalid, "content %q: piece length %d is no power of two from 16 KiB on", o.Name, n)
	}
	return nil
}

// hashTrees computes the trees of all files.
func (c *Content) hashTrees() error {
	v := &contentV2{trees: make([]*fileTree, len(c.info.Files)), byRoot: map[hash2]*fileTree{}}
	for i := range c.info.Files {
		f := &c.info.Files[i]
		if f.Padding || f.Length == 0 {
			continue
		}
		t, err := c.hashTree(i)
		if err != nil {
			return err
		}
		v.trees[i] = t
		v.byRoot[t.root()] = t
	}
	c.v2 = v
	return nil
}

// hashTree computes the tree of one file, one goroutine per core.
func (c *Content) hashTree(file int) (*fileTree, error) {
	length := c.info.Files[file].Length
	blocks := int((length + weir.BlockBytes - 1) / weir.BlockBytes)
	row := make([]hash2, 1<<bits.Len(uint(blocks-1)))
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(runtime.GOMAXPROCS(0), blocks))
	for w := range errs {
		wg.Go(func() {
			buf := make([]byte, weir.BlockBytes)
			for i := next.Add(1) - 1; i < int64(blocks); i = next.Add(1) - 1 {
				b := buf[:min(weir.BlockBytes, length-i*weir.BlockBytes)]
				if err := c.sources[file].readAt(b, i*weir.BlockBytes); err != nil {
					errs[w] = err
					return
				}
				row[i] = sha256.Sum256(b)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	t := &fileTree{rows: [][]hash2{row}, real: blocks}
	for len(row) > 1 {
		above := make([]hash2, len(row)/2)
		for i := range above {
			above[i] = sha256.Sum256(append(row[2*i][:], row[2*i+1][:]...))
		}
		t.rows, row = append(t.rows, above), above
	}
	return t, nil
}

// pieceHashesV2 returns the hash of each piece in turn, 32 bytes each.
func (c *Content) pieceHashesV2() (all []byte) {
	for _, t := range c.v2.trees {
		if t == nil {
			continue
		}
		layer := t.layer(c.blocksPerPiece())
		if layer == nil {
			layer = []hash2{t.root()}
		}
		for i := range layer {
			all = append(all, layer[i][:]...)
		}
	}
	return all
}

func (c *Content) blocksPerPiece() int { return int(c.info.PieceLength / weir.BlockBytes) }

// addV2 adds the keys of BEP 52 to the info dictionary.
func (c *Content) addV2(d dict) {
	root := dict{}
	for i := range c.info.Files {
		f := &c.info.Files[i]
		if f.Padding {
			continue
		}
		at := root
		for _, name := range f.Path {
			if at[name] == nil {
				at[name] = dict{}
			}
			at = at[name].(dict)
		}
		properties := dict{"length": f.Length}
		if t := c.v2.trees[i]; t != nil {
			sum := t.root()
			properties["pieces root"] = sum[:]
		}
		if f.Executable {
			properties["attr"] = "x"
		}
		at[""] = properties
	}
	d["meta version"], d["file tree"] = 2, root
}

// pieceLayers is what stands beside the info dictionary.
func (c *Content) pieceLayers() dict {
	layers := dict{}
	for _, t := range c.v2.trees {
		if t == nil {
			continue
		}
		var flat []byte
		for _, h := range t.layer(c.blocksPerPiece()) {
			flat = append(flat, h[:]...)
		}
		if flat != nil {
			sum := t.root()
			layers[string(sum[:])] = flat
		}
	}
	return layers
}

// InfoHashV2 returns the SHA-256 of the info dictionary (BEP 52), and false for a
// v1 torrent.
func (c *Content) InfoHashV2() (hash [sha256.Size]byte, ok bool) {
	if c.v2 == nil {
		return hash, false
	}
	return c.v2.infoHash, true
}

// Roots returns the root of the hash tree of each of Info().Files, as zeros where a
// file has none; nil for a v1 torrent.
func (c *Content) Roots() [][sha256.Size]byte {
	if c.v2 == nil {
		return nil
	}
	roots := make([]hash2, len(c.v2.trees))
	for i, t := range c.v2.trees {
		if t != nil {
			roots[i] = t.root()
		}
	}
	return roots
}

// names returns the info hashes that a handshake for c may have.
func (c *Content) names() []weir.InfoHash {
	all := []weir.InfoHash{c.info.InfoHash}
	if c.v2 != nil && !c.info.V2 {
		all = append(all, weir.InfoHash(c.v2.infoHash[:20]))
	}
	return all
}
