package swarmtest

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/weirfs/weir"
)

// The messages of BEP 52.
const (
	msgHashRequest = 21
	msgHashes      = 22
	msgHashReject  = 23

	hashRequestBytes = 32 + 4*4
)

// maxHashes is the most that is told in one message, as libtorrent does.
const maxHashes = 8192

// HashRequest is the fixed part of the hash messages of BEP 52.
type HashRequest struct {
	Root                                  [32]byte
	BaseLayer, Index, Length, ProofLayers uint32
}

func parseHashRequest(b []byte) (r HashRequest, err error) {
	if len(b) < hashRequestBytes {
		return r, fmt.Errorf("hash message of %d bytes", len(b))
	}
	r.Root = [32]byte(b)
	r.BaseLayer, r.Index = binary.BigEndian.Uint32(b[32:]), binary.BigEndian.Uint32(b[36:])
	r.Length, r.ProofLayers = binary.BigEndian.Uint32(b[40:]), binary.BigEndian.Uint32(b[44:])
	return r, nil
}

// appendHashes appends one of the hash messages; hashes follow the fixed part.
func appendHashes(b []byte, id byte, r HashRequest, hashes []hash2) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+hashRequestBytes+32*len(hashes)))
	b = append(append(b, id), r.Root[:]...)
	for _, n := range []uint32{r.BaseLayer, r.Index, r.Length, r.ProofLayers} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// hashes returns what a request asks for, the hashes of the base layer and then
// the proof; the error says what is wrong with it.
func (c *Content) hashesFor(r HashRequest) ([]hash2, error) {
	if c.v2 == nil {
		return nil, fmt.Errorf("of a v1 torrent")
	}
	t := c.v2.byRoot[r.Root]
	switch {
	case t == nil:
		return nil, fmt.Errorf("of root %x, which no file has", r.Root)
	case int64(r.BaseLayer) >= int64(len(t.rows)-1):
		return nil, fmt.Errorf("of layer %d of %d", r.BaseLayer, len(t.rows))
	case r.Length < 2 || r.Length > maxHashes || bits.OnesCount32(r.Length) != 1:
		return nil, fmt.Errorf("of %d hashes", r.Length)
	case r.Index%r.Length != 0 || uint64(r.Index)+uint64(r.Length) > uint64(len(t.rows[r.BaseLayer])):
		return nil, fmt.Errorf("of hashes %d to %d of %d", r.Index, uint64(r.Index)+uint64(r.Length), len(t.rows[r.BaseLayer]))
	case uint64(r.BaseLayer)+uint64(r.ProofLayers) >= uint64(len(t.rows)-1):
		return nil, fmt.Errorf("of %d proof layers above layer %d of %d", r.ProofLayers, r.BaseLayer, len(t.rows))
	}
	out := slices.Clone(t.rows[r.BaseLayer][r.Index : r.Index+r.Length])
	// The subtree above these hashes ends here; its neighbours on the way up are
	// the proof. Lower layers count for nothing.
	low := bits.Len32(r.Length) - 1
	for up := low; up <= int(r.ProofLayers); up++ {
		out = append(out, t.rows[int(r.BaseLayer)+up][int(r.Index>>up)^1])
	}
	return out, nil
}

// onHashRequest answers a request for hashes, also from who is choked.
func (c *conn) onHashRequest(body []byte) error {
	r, err := parseHashRequest(body)
	if err != nil || len(body) != hashRequestBytes {
		return fmt.Errorf("hash request of %d bytes", len(body))
	}
	f := c.s.faults.Load()
	c.s.count(func(n *Counters) { n.HashRequests++ })
	c.event(EventHashRequest, request{index: r.Index, length: r.Length}, fmt.Sprintf("root %x, layer %d, %d proof layers", r.Root, r.BaseLayer, r.ProofLayers))
	hashes, err := c.sv.c.hashesFor(r)
	switch {
	case err != nil:
		c.violation("hash request %v", err)
	case f.HashesSilent:
		return nil
	case f.HashesReject, f.HashesNoProof && r.ProofLayers > 0, f.HashesUnchecked && r.BaseLayer == 0 && !c.sentOf(r):
		hashes = nil
	case f.HashesWrong:
		hashes[len(hashes)/3][5] ^= 0xff
	}
	id := byte(msgHashes)
	if hashes == nil {
		id = msgHashReject
	}
	c.s.count(func(n *Counters) { n.Hashes += int64(len(hashes)) })
	c.say(func(b []byte) []byte { return appendHashes(b, id, r, hashes) })
	return nil
}

// sentOf reports whether a block was sent of the piece that a request for the hashes of
// blocks is about.
func (c *conn) sentOf(r HashRequest) bool {
	info := &c.sv.c.info
	for i, t := range c.sv.c.v2.trees {
		if t != nil && t.root() == r.Root {
			c.s.mu.Lock()
			defer c.s.mu.Unlock()
			piece := (info.Files[i].Offset + int64(r.Index)*weir.BlockBytes) / info.PieceLength
			return c.sv.sent[uint32(piece)] != nil
		}
	}
	return false
}

// gap returns how many bytes lie between the end of a piece and the next one, in a
// v2 torrent. BEP 52 has requests end with the file. libtorrent (2.0.8) asks for
// whole blocks all the same, and for such requests sends zeros; so do we.
func (c *conn) gap(index int) int64 {
	info := &c.sv.c.info
	r := info.PieceRange(index)
	return min(r.Off+info.PieceLength, info.Length) - r.End
}

// gapBytes returns how many bytes of a request lie in a gap, or in padding.
func (c *conn) gapBytes(r request) int64 {
	info := &c.sv.c.info
	if int64(r.index) >= int64(info.NumPieces()) {
		return 0
	}
	if !info.V2 {
		off := info.PieceRange(int(r.index)).Off + int64(r.begin)
		asked := weir.Range{Off: off, End: off + int64(r.length)}
		sum := int64(0)
		for first, end := info.FilesIn(asked); first < end; first++ {
			if f := &info.Files[first]; f.Padding {
				sum += f.Range().Intersect(asked).Len()
			}
		}
		return sum
	}
	over := int64(r.begin) + int64(r.length) - info.PieceRange(int(r.index)).Len()
	return max(0, min(over, int64(r.length), c.gap(int(r.index))))
}
