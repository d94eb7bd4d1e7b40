package webseed

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// How long a site is left alone after something went wrong. Each pause doubles with
// what goes wrong again, up to its longest.
const (
	filePause, longestFilePause = time.Second, 10 * time.Minute
	hostPause, longestHostPause = 2 * time.Second, 10 * time.Minute
	// wrongPause is for how long a piece that was wrong is not asked for again, as
	// long as a peer that lied is banned.
	wrongPause = time.Hour
	// missingPause is for how long a file that was not there is not asked for again.
	missingPause = time.Hour
)

// Site is what is known of one web seed of one torrent: which files it gives, and
// what became of those that it doesn't. Errors are booked on files, since items
// change after their torrent was made; on the whole server only what is said by it
// or happens before a file is named. It is pure, and for one goroutine at a time.
type Site struct {
	info   *weir.TorrentInfo
	files  map[int]*file     // by index; those of which something is known
	wrong  map[int]time.Time // pieces whose hash was wrong: until when they are not asked for
	right  []bool            // files with bytes in a piece that was verified; nil until one was
	pause  backoff
	dead   bool   // it could not be reached when it was asked last
	reason string // why it is paused, or was last
	gone   string // why it is given up for good
}

// file is what is known of a file at a site.
type file struct {
	pause    backoff
	stale    bool // another version: for good
	noRanges bool // only its beginning can be had
	missing  bool // it was not there when it was asked for last
	reason   string
	wrong    int // pieces with bytes of it that were wrong
	location string
}

// backoff is a pause that doubles.
type backoff struct {
	until time.Time
	times int
}

// fail begins a pause, of at least what the server asked for. Requests that were under way when
// it began fail for the same reason: they don't double it.
func (b *backoff) fail(now time.Time, first, longest, asked time.Duration) {
	if now.Before(b.until) {
		if end := now.Add(asked); end.After(b.until) {
			b.until = end
		}
		return
	}
	d := min(first<<min(b.times, 16), longest)
	b.times++
	b.until = now.Add(max(d, asked))
}

// NewSite returns a site that is believed to have everything.
func NewSite(info *weir.TorrentInfo) *Site {
	return &Site{info: info, files: map[int]*file{}, wrong: map[int]time.Time{}}
}

func (s *Site) file(index int) *file {
	f := s.files[index]
	if f == nil {
		f = &file{}
		s.files[index] = f
	}
	return f
}

// Has reports whether the site may be asked for the piece: all of its files are
// there. Padding and empty files are nobody's.
func (s *Site) Has(now time.Time, piece int) bool {
	if s.gone != "" || now.Before(s.pause.until) || now.Before(s.wrong[piece]) {
		return false
	}
	if len(s.files) == 0 {
		return true
	}
	in := s.info.PieceRange(piece)
	first, end := s.info.FilesIn(in)
	for i := first; i < end; i++ {
		f := s.files[i]
		if f == nil || s.info.Files[i].Padding {
			continue
		}
		part := in.Intersect(s.info.Files[i].Range())
		if part.Empty() {
			continue
		}
		if f.stale || now.Before(f.pause.until) || f.noRanges && part.Off-s.info.Files[i].Offset > maxSkip {
			return false
		}
	}
	return true
}

// Gone reports whether the site is given up for good.
func (s *Site) Gone() bool { return s.gone != "" }

// PausedUntil returns until when the server is left alone; a time that has passed if it
// isn't.
func (s *Site) PausedUntil() time.Time { return s.pause.until }

// Lost returns why the site will not have the piece again, "" if it may: it has
// another version of one of its files, or the piece was wrong.
func (s *Site) Lost(now time.Time, piece int) string {
	for _, i := range s.filesOf(piece) {
		if f := s.files[i]; f != nil && f.stale {
			return f.reason
		}
	}
	if now.Before(s.wrong[piece]) {
		return fmt.Sprintf("piece %d has a wrong hash there", piece)
	}
	return ""
}

// Missing returns what the server said of a file of the piece that it does not have, "" if
// it was not asked for one.
func (s *Site) Missing(piece int) string {
	for _, i := range s.filesOf(piece) {
		if f := s.files[i]; f != nil && f.missing {
			return f.reason
		}
	}
	return ""
}

// Unreachable reports whether the server gave no answer when it was asked last.
func (s *Site) Unreachable() bool { return s.dead }

// NextChange returns when the site may have a piece again that it has not now, and
// false if time alone changes nothing.
func (s *Site) NextChange(now time.Time) (time.Time, bool) {
	var next time.Time
	look := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if s.gone == "" {
		look(s.pause.until)
		for _, at := range s.wrong {
			look(at)
		}
		for _, f := range s.files {
			if !f.stale {
				look(f.pause.until)
			}
		}
	}
	return next, !next.IsZero()
}

// Location returns where a redirect has led for the file, "" for none.
func (s *Site) Location(index int) string {
	if f := s.files[index]; f != nil {
		return f.location
	}
	return ""
}

// Answered books an answer that is no Take and no Moved on the file, or on the
// host. It reports whether what the site has may have changed.
func (s *Site) Answered(now time.Time, index int, a Answer) bool {
	s.dead = false
	switch a.Verdict {
	case Take, Moved:
		return false
	case WaitHost:
		s.pause.fail(now, hostPause, longestHostPause, a.Pause)
		s.reason = a.Reason
		return true
	}
	f := s.file(index)
	f.reason = a.Reason
	switch a.Verdict {
	case Stale:
		f.stale = true
	case NoRanges:
		f.noRanges = true
	case Missing:
		f.missing = true
		f.pause.fail(now, missingPause, missingPause, 0)
		f.location = "" // it may be elsewhere by now
	default:
		f.pause.fail(now, filePause, longestFilePause, a.Pause)
		f.location = ""
	}
	return true
}

// Redirected remembers where the file is.
func (s *Site) Redirected(index int, location string) { s.file(index).location = location }

// Broke books a body that ended early, late or not at all on the file.
func (s *Site) Broke(now time.Time, index int, reason string) {
	f := s.file(index)
	f.reason, f.location = reason, ""
	f.pause.fail(now, filePause, longestFilePause, 0)
}

// Failed books what happened before a server has answered.
func (s *Site) Failed(now time.Time, reason string) {
	s.pause.fail(now, hostPause, longestHostPause, 0)
	s.dead, s.reason = true, reason
}

// GiveUp ends the site for good: it may not be asked at all.
func (s *Site) GiveUp(reason string) { s.gone, s.reason = reason, reason }

// Delivered says that bytes of the file came, so that its next failure is a first one.
func (s *Site) Delivered(index int) {
	s.pause.times, s.dead = 0, false
	if f := s.files[index]; f != nil {
		f.pause.times, f.missing = 0, false
	}
}

// Right says that a piece of which the site gave bytes was verified. It returns the
// files that are stale by this: of a wrong piece they are the only ones left that
// can be guilty.
func (s *Site) Right(piece int) (stale []int) {
	if s.right == nil {
		s.right = make([]bool, len(s.info.Files))
	}
	delete(s.wrong, piece)
	news := false
	for _, i := range s.filesOf(piece) {
		news = news || !s.right[i]
		s.right[i] = true
	}
	if !news {
		return nil
	}
	for p := range s.wrong {
		stale = append(stale, s.blame(p)...)
	}
	slices.Sort(stale)
	return stale
}

// Wrong says that a piece that the site gave alone has a wrong hash. The piece is
// not asked for there for an hour. It returns the files that became stale by this:
// those that alone can be guilty, as all others of the piece were right in another
// one, or that were wrong twice and never right.
func (s *Site) Wrong(now time.Time, piece int) (stale []int) {
	s.wrong[piece] = now.Add(wrongPause)
	for _, i := range s.filesOf(piece) {
		s.file(i).wrong++
	}
	return s.blame(piece)
}

// blame marks the files stale that are guilty of a wrong piece.
func (s *Site) blame(piece int) (stale []int) {
	files := s.filesOf(piece)
	suspects := files
	if len(files) > 1 && s.right != nil { // a file that fills a piece may be right elsewhere and yet be stale
		suspects = nil
		for _, i := range files {
			if !s.right[i] {
				suspects = append(suspects, i)
			}
		}
	}
	for _, i := range suspects {
		f := s.file(i)
		if !f.stale && (len(suspects) == 1 || f.wrong >= 2) {
			f.stale = true
			f.reason = fmt.Sprintf("the server has another version: piece %d has a wrong hash", piece)
			stale = append(stale, i)
		}
	}
	return stale
}

// filesOf returns the files that have bytes in the piece.
func (s *Site) filesOf(piece int) []int {
	in := s.info.PieceRange(piece)
	first, end := s.info.FilesIn(in)
	var files []int
	for i := first; i < end; i++ {
		if f := &s.info.Files[i]; !f.Padding && !in.Intersect(f.Range()).Empty() {
			files = append(files, i)
		}
	}
	return files
}

// State is what a site does, for people.
type State struct {
	Paused time.Time      // until when it is left alone, zero if it isn't
	Gone   bool           // it is not asked any more
	Reason string         // of that, or the last one
	Stale  []int          // files of which it has another version
	Files  map[int]string // why files can't be had there now, by index
}

// State returns what people may want to know.
func (s *Site) State(now time.Time) State {
	st := State{Gone: s.gone != "", Reason: s.reason, Files: map[int]string{}}
	if now.Before(s.pause.until) {
		st.Paused = s.pause.until
	}
	for i, f := range s.files {
		if f.stale {
			st.Stale = append(st.Stale, i)
		}
		if f.stale || f.noRanges || now.Before(f.pause.until) {
			st.Files[i] = f.reason
		}
	}
	slices.Sort(st.Stale)
	return st
}
