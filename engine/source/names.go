package source

import (
	"strings"

	"github.com/weirfs/weir"
)

const (
	// maxNameBytes bounds one name. It is PATH_MAX: no program can have made the
	// torrent from a file of a longer name.
	maxNameBytes = 4096
	// maxPathNames bounds the folders that a file lies in, itself included.
	maxPathNames = 256
)

// checkName checks one component of a path, or a torrent's name. It refuses what can only
// be meant to leave the folder. Everything else stays as it is, even a slash ("AC/DC"): fs
// makes names safe to show.
func checkName[T string | []byte](name T) error {
	switch {
	case len(name) == 0:
		return weir.Errorf(weir.ErrInvalid, "an empty name")
	case len(name) > maxNameBytes:
		return weir.Errorf(weir.ErrInvalid, "a name of %d bytes, more than %d", len(name), maxNameBytes)
	}
	start := 0 // of the text after the last slash
	for i := 0; i <= len(name); i++ {
		switch {
		case i == len(name) || name[i] == '/':
			if i-start == 2 && name[start] == '.' && name[start+1] == '.' {
				return weir.Errorf(weir.ErrHostile, "the name %s leaves its folder", quote(name))
			}
			start = i + 1
		case name[i] == 0:
			return weir.Errorf(weir.ErrHostile, "the name %s has a NUL in it", quote(name))
		}
	}
	return nil
}

// nameStore turns the names of millions of files into strings with few allocations: text
// and slices are cut from shared chunks, and a name that the previous file had at the same
// depth is reused.
type nameStore struct {
	last  []string        // the path that was returned last
	text  strings.Builder // the current chunk of text; replaced before it grows
	slots []string        // the current chunk of path components
}

const (
	maxTextChunk = 64 << 10
	maxSlotChunk = 4 << 10
)

// path returns a copy of names that shares no memory with the input.
func (s *nameStore) path(names [][]byte) []string {
	if cap(s.slots)-len(s.slots) < len(names) {
		// Chunks double, so that a small torrent gets small ones.
		s.slots = make([]string, 0, max(len(names), min(2*cap(s.slots), maxSlotChunk)))
	}
	start := len(s.slots)
	for i, name := range names {
		if i < len(s.last) && s.last[i] == string(name) {
			s.slots = append(s.slots, s.last[i])
			continue
		}
		s.slots = append(s.slots, s.copy(name))
	}
	s.last = s.slots[start:len(s.slots):len(s.slots)]
	return s.last
}

func (s *nameStore) copy(name []byte) string {
	if s.text.Cap()-s.text.Len() < len(name) {
		size := max(len(name), min(2*s.text.Cap(), maxTextChunk))
		s.text = strings.Builder{}
		s.text.Grow(size)
	}
	start := s.text.Len()
	s.text.Write(name)
	return s.text.String()[start:]
}
