package policy

import (
	"cmp"
	"slices"

	"github.com/weirfs/weir"
)

// Order is an order of files: the torrent's own, or that of its folders as they are
// listed. It is immutable.
type Order struct {
	info *weir.TorrentInfo
	file []uint32 // by position; nil for the torrent's order
	at   []uint32 // position by file
}

// TorrentOrder is the order in which the files lie.
func TorrentOrder(info *weir.TorrentInfo) *Order { return &Order{info: info} }

// ListedOrder is the order in which a program meets the files when it walks the folders as
// they are listed, names in byte order. A million files take a second or two.
func ListedOrder(info *weir.TorrentInfo) *Order {
	o := &Order{info: info, file: make([]uint32, len(info.Files)), at: make([]uint32, len(info.Files))}
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
	for position, i := range o.file {
		o.at[i] = uint32(position)
	}
	return o
}

// follows reports whether file b comes after file a in a listing.
func follows(info *weir.TorrentInfo, a, b int) bool {
	return slices.Compare(info.Files[a].Path, info.Files[b].Path) < 0
}

func (o *Order) position(file int) int {
	if o.at == nil {
		return file
	}
	return int(o.at[file])
}

// next returns the file one position further on, or -1 at the end.
func (o *Order) next(file int) int {
	position := o.position(file) + 1
	if position >= len(o.info.Files) {
		return -1
	}
	if o.file == nil {
		return position
	}
	return int(o.file[position])
}

// maxSkip is how many positions apart two files read one after another may be: programs
// read with several threads, skip files that are empty or of another kind, and padding has
// a position too.
const maxSkip = 16

// continues reports whether opening file b after file a continues in this order.
func (o *Order) continues(a, b int) bool {
	d := o.position(b) - o.position(a)
	return d != 0 && cmp.Compare(d, -maxSkip) >= 0 && d <= maxSkip
}
