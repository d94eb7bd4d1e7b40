package policy

import (
	"time"

	"github.com/weirfs/weir"
)

// Sequence follows a program that reads files one after another, in the torrent's order or
// in that of its folders: tar, cp -r, a loader of training data. It says what to want of the
// next files, so that read-ahead crosses file boundaries. Handles report their reads to it.
type Sequence struct {
	order     *Order
	last      int   // the file that is furthest in order
	head      int64 // how far that was read
	files     int   // read in order
	bytes     int64 // read of these
	listedRun int   // files in a row, each of them after the last in a listing
	prev      int   // the file before

	meter  meter
	recent [4]extent // of the files that were closed last
	closed int

	published int64 // bytes read when the window was made last; 0 for never
}

// extent is how far a file was read.
type extent struct{ head, length int64 }

const (
	// sequenceFiles is the number of files read in order before read-ahead crosses
	// file boundaries.
	sequenceFiles = 3
	// listedFiles is the number of files read in the order of a listing, and not in the
	// torrent's, before the sequence follows that order.
	listedFiles = 8
	// minFileBytes is the least that a file counts: with files of a few hundred bytes, a
	// window as long as what was read would cover only few files a round trip.
	minFileBytes = 4 << 10
	// MaxRanges bounds the ranges of one window.
	MaxRanges = 64
	// maxNext bounds the files that are examined for one window.
	maxNext = 4096
)

// NewSequence begins a sequence with a file. before is the torrent's latest sequence, or
// nil.
func NewSequence(o *Order, file int, before *Sequence) *Sequence {
	s := &Sequence{order: o, last: file, prev: file, files: 1}
	if before != nil {
		s.listedRun = before.listedRun
	}
	return s
}

// Enter reports whether the file continues the sequence, and adds it if so.
func (s *Sequence) Enter(file int) bool {
	if !s.order.continues(s.last, file) {
		return false
	}
	s.files++
	s.prev = file
	if s.order.position(file) > s.order.position(s.last) {
		s.last, s.head = file, 0
	}
	return true
}

// FollowsListing takes a file that did not continue the sequence. It counts those that come
// in the order of a listing, and reports whether they are enough to use that order.
func (s *Sequence) FollowsListing(file int) bool {
	if follows(s.order.info, s.prev, file) {
		s.listedRun++
	} else {
		s.listedRun = 0
	}
	s.prev = file
	return s.listedRun >= listedFiles
}

// Read says that n more bytes of a file of the sequence were read, up to head.
func (s *Sequence) Read(now time.Time, file int, head, n int64) {
	s.meter.read(now, n)
	s.bytes += n
	if file == s.last {
		s.head = max(s.head, head)
	}
}

// Leave says that a file was closed after it was read up to head.
func (s *Sequence) Leave(head, length int64) {
	s.recent[s.closed%len(s.recent)] = extent{head, length}
	s.closed++
}

// depth returns how far into a file the program reads at most; all reports whether it reads
// whole files.
func (s *Sequence) depth() (most int64, all bool) {
	all = s.closed > 0
	for _, e := range s.recent[:min(s.closed, len(s.recent))] {
		most = max(most, e.head)
		all = all && e.head >= e.length-RequestBytes/2 && e.head*10 >= e.length*9
	}
	return most, all
}

// Proven returns how much was read in the sequence, and how fast, if whole files are read
// and windows are open; otherwise zeros. It is for Pattern.Inherit.
func (s *Sequence) Proven() (bytes int64, rate float64) {
	if _, all := s.depth(); all && s.Open() {
		return s.bytes, s.meter.rate
	}
	return 0, 0
}

// Open reports whether enough files were read in order to read ahead across files.
func (s *Sequence) Open() bool {
	return s.closed > 0 && (s.files >= sequenceFiles || s.files > 1 && s.bytes >= openBytes)
}

// distance returns how far to read ahead.
func (s *Sequence) distance() int64 {
	return distance(s.meter.latest(), max(s.bytes, int64(s.files)*minFileBytes), s.order.info.PieceLength)
}

// Due reports whether the window should be published again.
func (s *Sequence) Due() bool {
	piece := s.order.info.PieceLength
	return s.published == 0 || s.bytes-s.published >= max(piece/2, s.distance()/16)
}

// Windows appends what is wanted of the files behind the last one, in torrent
// coordinates.
func (s *Sequence) Windows(dst []weir.Range) []weir.Range {
	s.published = s.bytes
	info := s.order.info
	depth, all := s.depth()
	if !s.Open() || depth == 0 {
		return dst
	}
	last := &info.Files[s.last]
	distance := s.distance()
	if all {
		distance -= last.Length - s.head // this file's own Pattern wants that
	}
	if distance <= 0 {
		return dst
	}
	if all && s.order.file == nil {
		end := last.Range().End
		return append(dst, weir.Range{Off: end, End: s.contentEnd(end, distance)})
	}
	return s.scattered(dst, distance, depth, all)
}

// contentEnd returns where the next bytes of files after the last one end; off is the last
// one's end. Padding does not count.
func (s *Sequence) contentEnd(off, bytes int64) int64 {
	info := s.order.info
	if !info.V2 && !info.Padded {
		return min(info.Length, off+bytes)
	}
	end := off
	for i := s.last + 1; i < min(len(info.Files), s.last+1+maxNext) && bytes > 0; i++ {
		if f := &info.Files[i]; !f.Padding && f.Length > 0 {
			end = f.Offset + min(f.Length, bytes)
			bytes -= f.Length
		}
	}
	return end
}

// scattered is Windows for files that don't lie end to end. Distance is counted in whole
// pieces, which is what has to be fetched.
func (s *Sequence) scattered(dst []weir.Range, distance, depth int64, all bool) []weir.Range {
	info := s.order.info
	begin, at, lastPiece := len(dst), s.last, -1
	for range maxNext {
		if at = s.order.next(at); at < 0 || distance <= 0 || len(dst)-begin == MaxRanges {
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
			distance -= info.PieceRange(end-1).End - int64(first)*info.PieceLength
			lastPiece = end - 1
			dst = append(dst, r)
		}
	}
	return dst
}
