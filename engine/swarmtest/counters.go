package swarmtest

import (
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// Counters are what a seeder, or a whole swarm, did since it was started.
// A block is counted when it is handed to the link: whoever has received it
// finds it counted.
type Counters struct {
	PayloadBytes int64 // of blocks sent
	Blocks       int64 // sent
	Repeats      int64 // blocks sent again on the same connection
	Unasked      int64 // blocks sent by that fault; also in PayloadBytes and Blocks

	Requests       int64 // received
	GapBytes       int64 // asked for behind the ends of files of a v2 torrent, or of padding
	RequestsChoked int64 // of them, while the peer was choked
	Surplus        int64 // of them, over the queue limit
	Rejects        int64 // sent
	Cancels        int64 // received
	CancelsInTime  int64 // of them, before the block was handed to the link
	Violations     int64 // of the protocol, by the other side

	MetadataRequests int64
	MetadataPieces   int64 // sent

	HashRequests int64 // received (BEP 52)
	Hashes       int64 // sent, proofs included

	Haves         int64 // received
	Bitfields     int64 // received, have-all and have-none included
	Interested    int64 // received
	NotInterested int64 // received

	ConnsOpen  int64 // now, with the handshake done
	ConnsTotal int64 // accepted or made since the start
}

// Add adds o to n.
func (n *Counters) Add(o Counters) {
	n.PayloadBytes += o.PayloadBytes
	n.Blocks += o.Blocks
	n.Repeats += o.Repeats
	n.Unasked += o.Unasked
	n.Requests += o.Requests
	n.GapBytes += o.GapBytes
	n.RequestsChoked += o.RequestsChoked
	n.Surplus += o.Surplus
	n.Rejects += o.Rejects
	n.Cancels += o.Cancels
	n.CancelsInTime += o.CancelsInTime
	n.Violations += o.Violations
	n.MetadataRequests += o.MetadataRequests
	n.MetadataPieces += o.MetadataPieces
	n.HashRequests += o.HashRequests
	n.Hashes += o.Hashes
	n.Haves += o.Haves
	n.Bitfields += o.Bitfields
	n.Interested += o.Interested
	n.NotInterested += o.NotInterested
	n.ConnsOpen += o.ConnsOpen
	n.ConnsTotal += o.ConnsTotal
}

// EventKind says what happened.
type EventKind string

// The events of a seeder.
const (
	EventOpen          EventKind = "open"           // the handshake is done
	EventClose         EventKind = "close"          // Detail says why
	EventInterested    EventKind = "interested"     // received
	EventNotInterested EventKind = "not interested" // received
	EventHave          EventKind = "have"           // received
	EventBitfield      EventKind = "bitfield"       // received
	EventRequest       EventKind = "request"        // received
	EventCancel        EventKind = "cancel"         // received; Detail is "in time" or "late"
	EventMetadata      EventKind = "metadata"       // a piece of it was asked for
	EventHashRequest   EventKind = "hash request"   // received; Piece and Length are its index and length
	EventViolation     EventKind = "violation"      // Detail says what
	EventSend          EventKind = "send"           // a block is handed to the link
	EventReject        EventKind = "reject"         // sent
	EventChoke         EventKind = "choke"          // sent
	EventUnchoke       EventKind = "unchoke"        // sent
)

// Event is one thing that happened at a seeder.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Seeder  string // its address
	Conn    int64  // numbers the seeder's connections from 1
	Peer    string // the other side's address
	Torrent weir.InfoHash
	Piece   int   // of requests, cancels, sends, rejects, haves and metadata
	Begin   int64 // offset in the piece
	Length  int64
	Detail  string
}

// Recorder collects events. Its Add serves as SeederOptions.Trace, for several
// seeders at once. The zero Recorder is ready.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// Add appends e.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns a copy of what was collected, of the given kinds or of all.
func (r *Recorder) Events(kinds ...EventKind) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Event
	for _, e := range r.events {
		if len(kinds) == 0 {
			out = append(out, e)
			continue
		}
		for _, k := range kinds {
			if e.Kind == k {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

// tally counts how often each block of a torrent was sent. Blocks that don't
// begin at a multiple of 16 KiB count for the one they begin in.
type tally map[uint32][]uint16

// add counts a block and returns how often it had been sent before.
func (t tally) add(r request, pieceLength int64) uint16 {
	blocks := t[r.index]
	if blocks == nil {
		blocks = make([]uint16, (pieceLength+weir.BlockBytes-1)/weir.BlockBytes)
		t[r.index] = blocks
	}
	n := &blocks[r.begin/weir.BlockBytes]
	*n++
	return *n - 1
}
