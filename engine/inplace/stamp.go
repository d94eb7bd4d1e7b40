package inplace

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stamp changes when a file does. Nobody can set back its Changed.
type Stamp struct {
	Device, Inode uint64
	Size          int64
	Modified      unix.Timespec
	Changed       unix.Timespec
}

// StampOf returns the stamp of a file.
func StampOf(st *unix.Stat_t) Stamp {
	return Stamp{Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size, Modified: st.Mtim, Changed: st.Ctim}
}

// SettleTime is how old a change must be before a later one certainly gives another
// Stamp: times of files move in steps of 10 ms at most.
const SettleTime = 30 * time.Millisecond

// settled reports whether a change after at gives another stamp.
func (s *Stamp) settled(at time.Time) bool {
	age := at.Sub(time.Unix(s.Changed.Unix()))
	return age >= SettleTime || age < -time.Second // a time that lies ahead: the clock was set back
}
