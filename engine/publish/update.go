package publish

import (
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source"
)

// Follow has the torrent be a new version of an old one, which has metadata: what is not
// asked for is as it was there, so that files that have not changed have the same pieces.
// anyVersion says that o.Version was not asked for.
func (o *Options) Follow(old *source.Spec, anyVersion bool) error {
	if anyVersion {
		switch {
		case old.Info.V2:
			o.Version = metainfo.V2
		case old.Names().Hybrid():
			o.Version = metainfo.Hybrid
		default:
			o.Version = metainfo.V1
		}
	}
	if n := old.Info.PieceLength; o.PieceLength == 0 {
		if n < metainfo.MinPieceLength || n > metainfo.MaxPieceLength || n&(n-1) != 0 {
			return weir.Errorf(weir.ErrInvalid, "pieces of %d bytes, as the old torrent has them, are none that a torrent is made with: choose a --piece-length; nothing will be shared", n)
		}
		o.PieceLength = n
	}
	if len(o.Trackers) == 0 {
		for _, tier := range old.Trackers {
			o.Trackers = append(o.Trackers, tier...)
		}
	}
	o.Private = o.Private || old.Info.Private
	o.Aligned = true
	o.Similar = append(o.Similar, old.InfoHash)
	return nil
}

// SharedBytes returns how many bytes of a torrent are in pieces that another has, too:
// whoever has those does not fetch them again. Both have metadata.
func SharedBytes(t, other *source.Spec) (sum int64) {
	if t.Info.PieceLength != other.Info.PieceLength || t.Info.V2 != other.Info.V2 {
		return 0
	}
	type piece struct {
		hash string
		len  int64
	}
	each := func(s *source.Spec, do func(piece)) {
		n := s.Info.NumPieces()
		if n == 0 {
			return
		}
		size := len(s.PieceHashes) / n
		for i := range n {
			do(piece{string(s.PieceHashes[i*size:][:size]), s.Info.PieceRange(i).Len()})
		}
	}
	has := map[piece]bool{}
	each(other, func(p piece) { has[p] = true })
	each(t, func(p piece) {
		if has[p] {
			sum += p.len
		}
	})
	return sum
}
