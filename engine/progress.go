package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
)

// progress is what there is to know about why reads wait. What follows from it is
// pure.
type progress struct {
	metadata bool          // it is known
	wanted   bool          // something is
	silent   time.Duration // since something is wanted and the last block came

	waiting int           // reads
	waited  time.Duration // the longest
	piece   int           // that this one lacks; -1 when none waits
	arrived bool          // blocks came since the last report

	peers        int // connected
	withMetadata int // of these, who offer the metadata
	tooLarge     int // what they say that it has, in bytes, if that is more than the bound
	maxMetadata  int64
	having       int // of these, who have the piece, or something that is wanted
	serving      int // of these, who serve us
	known        int // addresses
	dialing      int // of these, being dialed
	lastDial     error
	trackers     []string // a line for each
	webSeeds     []string // what went wrong with each
}

func (f *progress) state() State {
	switch {
	case !f.metadata:
		return StateMetadata
	case f.waiting > 0 && !f.arrived && f.waited > reportEvery, f.wanted && f.silent > tellAfter:
		return StateStuck
	case f.waiting > 0:
		return StateReading
	case f.wanted:
		return StateFetching
	}
	return StateIdle
}

// why returns a sentence that says what is missing, for a torrent that makes no
// progress.
func (f *progress) why() string {
	if len(f.webSeeds) == 0 {
		return f.whyPeers()
	}
	return f.whyPeers() + "; web seeds: " + strings.Join(f.webSeeds, "; ")
}

// whyPeers is why, as far as peers go.
func (f *progress) whyPeers() string {
	what := "what is wanted"
	if f.piece >= 0 {
		what = fmt.Sprintf("piece %d", f.piece)
	}
	switch {
	case f.peers == 0 && f.known == 0:
		if len(f.trackers) > 0 {
			return "no peer is known; " + strings.Join(f.trackers, "; ")
		}
		return "no peer is known, and there is no tracker to ask"
	case f.peers == 0 && f.dialing > 0 && f.lastDial == nil:
		return fmt.Sprintf("connecting to %s", count(f.known))
	case f.peers == 0:
		s := fmt.Sprintf("%s known, none connected", count(f.known))
		if f.lastDial != nil {
			s += ": the last one " + dialTrouble(f.lastDial)
		}
		return s
	case !f.metadata && f.withMetadata == 0 && f.tooLarge > 0:
		return fmt.Sprintf("peers say that the metadata has %.1f MiB, and --max-metadata allows %.1f MiB",
			float64(f.tooLarge)/(1<<20), float64(f.maxMetadata)/(1<<20))
	case !f.metadata && f.withMetadata == 0:
		return fmt.Sprintf("%s connected, none has the metadata", count(f.peers))
	case !f.metadata:
		return fmt.Sprintf("the metadata is on its way from %s", count(f.withMetadata))
	case f.having == 0:
		return fmt.Sprintf("%s connected, none has %s", count(f.peers), what)
	case f.serving == 0:
		return fmt.Sprintf("%s with %s connected, waiting for a turn (choked)", count(f.having), what)
	}
	return fmt.Sprintf("%s with %s connected, none has sent anything lately", count(f.serving), what)
}

// dialTrouble says in words what came of dialing a peer.
func dialTrouble(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "can't be reached (no route)"
	case errors.Is(err, link.ErrHungUp):
		return "hung up in the handshake"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "did not answer"
	}
	return "failed: " + weir.ErrorText(err)
}

// count returns "no peers", "1 peer", "2 peers".
func count(n int) string {
	switch n {
	case 0:
		return "no peers"
	case 1:
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}
