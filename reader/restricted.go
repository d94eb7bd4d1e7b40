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
	HeadAndTail        // the first and the last HeadTailBytes of each file, and no read-ahead
	Refused            // nothing: files can't be opened
)

// HeadTailBytes is how much of each end of a file a program with HeadAndTail may read. The
// index of a film of some hours fits (MP4: 12 to 16 bytes a frame of video or audio).
const HeadTailBytes = 8 << 20

// Restricted says which programs may not make the swarm fetch whole files: indexers,
// thumbnailers, scanners. The zero Restricted and nil restrict nobody. It is immutable.
type Restricted struct {
	programs map[string]Access
}

// ParseRestricted reads a list of programs, separated by commas. A name alone refuses
// the program; with ":head" it may read the head and the tail of files. The error
// wraps weir.ErrInvalid.
func ParseRestricted(list string) (*Restricted, error) {
	r := &Restricted{programs: map[string]Access{}}
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
		r.programs[name] = max(access, r.programs[name])
	}
	return r, nil
}

// Empty reports whether no program is restricted, so that callers need not find out who
// opens a file.
func (r *Restricted) Empty() bool { return r == nil || len(r.programs) == 0 }

// commBytes is the length at which Linux truncates the names of processes.
const commBytes = 15

// For returns what a program may read, given its names: those of its executable and its
// process. The strictest rule counts. A truncated name matches all that begin with it.
func (r *Restricted) For(names ...string) Access {
	access := Full
	if r.Empty() {
		return access
	}
	for _, name := range names {
		if a, ok := r.programs[name]; ok {
			access = max(access, a)
		} else if len(name) == commBytes {
			for program, a := range r.programs {
				if strings.HasPrefix(program, name) {
					access = max(access, a)
				}
			}
		}
	}
	return access
}
