package reader

import (
	"strings"

	"github.com/weirfs/weir"
)

// Access is what a program may read.
type Access uint8

// The kinds of access, from most to least.
const (
	Full        Access = iota
	HeadAndTail        // the first and the last QuietBytes of each file, and no read-ahead
	Refused            // nothing: files can't be opened
)

// QuietBytes is how much of each end of a file is open to a program with
// HeadAndTail. It holds the index of a film of some hours (MP4: 12 to 16 bytes a
// frame, of pictures and of sound).
const QuietBytes = 8 << 20

// Quiet says which programs are kept from making the swarm fetch: indexers,
// thumbnailers, scanners. The zero Quiet and a nil one let everybody read all. It
// is immutable.
type Quiet struct {
	programs map[string]Access
}

// ParseQuiet reads a list of programs, separated by commas. A name alone refuses
// the program; with ":head" it may read the head and the tail of files. The error
// wraps weir.ErrInvalid.
func ParseQuiet(list string) (*Quiet, error) {
	q := &Quiet{programs: map[string]Access{}}
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, mode, found := strings.Cut(entry, ":")
		access := Refused
		if found {
			if mode != "head" {
				return nil, weir.Errorf(weir.ErrInvalid, "quiet reader %q: want a program, or program:head", entry)
			}
			access = HeadAndTail
		}
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return nil, weir.Errorf(weir.ErrInvalid, "quiet reader %q: want the name of a program without its folder", entry)
		}
		q.programs[name] = max(access, q.programs[name])
	}
	return q, nil
}

// Empty reports whether no program is kept from anything, so that nobody needs
// to know who opens a file.
func (q *Quiet) Empty() bool { return q == nil || len(q.programs) == 0 }

// commBytes is where Linux cuts the names of processes.
const commBytes = 15

// For returns what a program may read, given the names it is known by: of its
// executable, of its process. The strictest counts. A name that Linux has cut
// fits all names that begin with it.
func (q *Quiet) For(names ...string) Access {
	access := Full
	if q.Empty() {
		return access
	}
	for _, name := range names {
		if a, ok := q.programs[name]; ok {
			access = max(access, a)
		} else if len(name) == commBytes {
			for program, a := range q.programs {
				if strings.HasPrefix(program, name) {
					access = max(access, a)
				}
			}
		}
	}
	return access
}
