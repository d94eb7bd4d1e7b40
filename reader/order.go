package reader

import (
	"cmp"
	"slices"

	"github.com/weirfs/weir"
)

// order is a sequence of files: the torrent's own, or that of its folders as
// they are listed. It is immutable.
type order struct {
	info *weir.TorrentInfo
	file []uint32 // by place; nil for the torrent's order
	at   []uint32 // place by file
}

// torrentOrder is the order in which the files lie.
func torrentOrder(info *weir.TorrentInfo) *order { return &order{info: info} }

// listedOrder is the order in which a program comes by the files that goes
// through the folders as they are listed, names in byte order. For a million
// files it takes a second or two.
func listedOrder(info *weir.TorrentInfo) *order {
	o := &order{info: info, file: make([]uint32, len(info.Files)), at: make([]uint32, len(info.Files))}
	for i := range o.file {
		o.file[i] = uint32(i)
	}
	slices.SortStableFunc(o.file, func(a, b uint32) int {
		x, y := &info.Files[a], &info.Files[b]
		if x.Padding != y.Padding { // padding is not shown: behind all others
			if x.Padding {
				return 1
			}
			return -1
		}
		return slices.Compare(x.Path, y.Path)
	})
	for place, i := range o.file {
		o.at[i] = uint32(place)
	}
	return o
}

// follows reports whether file b is shown behind file a in a listing, or further
// on.
func follows(info *weir.TorrentInfo, a, b int) bool {
	return slices.Compare(info.Files[a].Path, info.Files[b].Path) < 0
}

func (o *order) place(file int) int {
	if o.at == nil {
		return file
	}
	return int(o.at[file])
}

// next returns the file at a place behind, or -1 at the end.
func (o *order) next(file int) int {
	place := o.place(file) + 1
	if place >= len(o.info.Files) {
		return -1
	}
	if o.file == nil {
		return place
	}
	return int(o.file[place])
}

// most is how many places apart two files may be that are read one after another:
// programs read with several threads, skip what is empty or of another kind, and
// padding has a place too.
const apart = 16

// continues reports whether a reader who was last at file a goes on when it opens b.
func (o *order) continues(a, b int) bool {
	d := o.place(b) - o.place(a)
	return d != 0 && cmp.Compare(d, -apart) >= 0 && d <= apart
}
