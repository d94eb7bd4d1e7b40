package reader

import (
	"time"

	"github.com/weirfs/weir"
)

// walk follows somebody who reads files one after another, in the torrent's
// order or in that of its folders: tar, cp -r, a loader of training data. It says
// what to want of the files that come next, so that read-ahead runs over the
// borders of files. Like policy it is pure: facts in, a decision out. It is one
// torrent's and knows of handles only what they report.
type walk struct {
	order *order
	last  int // the file that is furthest in order
	head  int64
	files int   // that were read in order
	bytes int64 // read of these
	rise  int   // files in a row, each of them behind the last in a listing
	prev  int   // the file before

	meter  meter
	recent [4]extent // of the files that were closed last
	closed int

	shown int64 // bytes of the walk when its window was made last; 0 for never
}

// extent is how far a file was read.
type extent struct{ head, length int64 }

const (
	// walkFiles is the how manieth file in order opens a window over the next.
	walkFiles = 3
	// riseFiles in a row that rise in the listing, and are not in the torrent's
	// order, are no chance.
	riseFiles = 8
	// fileBytes is what a file of a walk counts for at least: of files of some hundred
	// bytes, a window as long as what was read would be few files in a round trip.
	fileBytes = 4 << 10
	// mostRanges bounds the ranges of one window.
	mostRanges = 64
	// mostNext bounds the files that are looked at for one window.
	mostNext = 4096
)

func newWalk(o *order, file int) *walk {
	return &walk{order: o, last: file, prev: file, files: 1}
}

// enter reports whether the file continues the walk, and takes it in if so.
func (w *walk) enter(file int) bool {
	if !w.order.continues(w.last, file) {
		return false
	}
	w.files++
	w.prev = file
	if w.order.place(file) > w.order.place(w.last) {
		w.last, w.head = file, 0
	}
	return true
}

// rises counts files that rise in the listing, for a walk that did not continue
// in the torrent's order, and reports when an order of the listing is worth while.
func (w *walk) rises(info *weir.TorrentInfo, file int) bool {
	if follows(info, w.prev, file) {
		w.rise++
	} else {
		w.rise = 0
	}
	w.prev = file
	return w.rise >= riseFiles
}

// read says that n more bytes of a file of the walk were read, up to head.
func (w *walk) read(now time.Time, file int, head, n int64) {
	w.meter.read(now, n)
	w.bytes += n
	if file == w.last {
		w.head = max(w.head, head)
	}
}

// leave says that a file was closed after it was read up to head.
func (w *walk) leave(head, length int64) {
	w.recent[w.closed%len(w.recent)] = extent{head, length}
	w.closed++
}

// depth returns how much of each file is read: all reports whether that is all
// of it.
func (w *walk) depth() (most int64, all bool) {
	all = w.closed > 0
	for _, e := range w.recent[:min(w.closed, len(w.recent))] {
		most = max(most, e.head)
		all = all && e.head >= e.length-requestBytes/2 && e.head*10 >= e.length*9
	}
	return most, all
}

// open reports whether the walk is sure enough to want what comes next.
func (w *walk) open() bool {
	return w.closed > 0 && (w.files >= walkFiles || w.files > 1 && w.bytes >= openBytes)
}

// reach returns how far ahead of the walk to want.
func (w *walk) reach() int64 {
	return reach(w.meter.latest(), max(w.bytes, int64(w.files)*fileBytes), w.order.info.PieceLength)
}

// due reports whether the window has moved by enough to be made anew.
func (w *walk) due() bool {
	piece := w.order.info.PieceLength
	return w.shown == 0 || w.bytes-w.shown >= max(piece/2, w.reach()/16)
}

// windows appends what is wanted of the files behind the last one, in torrent
// coordinates.
func (w *walk) windows(dst []weir.Range) []weir.Range {
	w.shown = w.bytes
	info := w.order.info
	depth, all := w.depth()
	if !w.open() || depth == 0 {
		return dst
	}
	last := &info.Files[w.last]
	reach := w.reach()
	if all {
		reach -= last.Length - w.head // the handle's own policy sees to that
	}
	if reach <= 0 {
		return dst
	}
	if all && w.order.file == nil {
		end := last.Range().End
		return append(dst, weir.Range{Off: end, End: w.contentEnd(end, reach)})
	}
	return w.scattered(dst, reach, depth, all)
}

// contentEnd returns where so many bytes of files end that lie from off on, the end
// of the last file. Padding does not count.
func (w *walk) contentEnd(off, bytes int64) int64 {
	info := w.order.info
	if !info.V2 && !info.Padded {
		return min(info.Length, off+bytes)
	}
	end := off
	for i := w.last + 1; i < min(len(info.Files), w.last+1+mostNext) && bytes > 0; i++ {
		if f := &info.Files[i]; !f.Padding && f.Length > 0 {
			end = f.Offset + min(f.Length, bytes)
			bytes -= f.Length
		}
	}
	return end
}

// scattered is windows for files that don't lie end to end. What counts is what
// has to be fetched: whole pieces.
func (w *walk) scattered(dst []weir.Range, reach, depth int64, all bool) []weir.Range {
	info := w.order.info
	begin, at, lastPiece := len(dst), w.last, -1
	for range mostNext {
		if at = w.order.next(at); at < 0 || reach <= 0 || len(dst)-begin == mostRanges {
			break
		}
		f := &info.Files[at]
		if f.Padding || f.Length == 0 {
			continue
		}
		r := f.Range()
		if !all {
			r.End = min(r.End, r.Off+depth)
		}
		first, end := info.Pieces(r)
		if first == lastPiece {
			first++
		}
		if first < end {
			reach -= info.PieceRange(end-1).End - int64(first)*info.PieceLength
			lastPiece = end - 1
			dst = append(dst, r)
		}
	}
	return dst
}
