package wire

import (
	"encoding/binary"

	"github.com/weirfs/weir"
)

// What a message of the plan extension holds at most.
const (
	MaxWanted = 16
	MaxBegun  = 64

	maxPlan = 4 + 8*(MaxWanted+MaxBegun)
)

// Plan is a message of weir's own extension (BEP 10): what the sender wants now, and
// what it is fetching, so that peers that read the same need not all fetch it from the
// same seed. On the wire it is the number of spans, the spans, and the pieces, all
// as 32 bit integers, big endian.
type Plan struct {
	Wanted   [][2]int // first piece, and the one behind the last
	Fetching [][2]int // piece, and how many of its blocks are here
}

// AppendPlan appends the message's payload.
func AppendPlan(b []byte, m Plan) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Wanted)))
	for _, list := range [][][2]int{m.Wanted, m.Fetching} {
		for _, p := range list {
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(p[0])), uint32(p[1]))
		}
	}
	return b
}

// ParsePlan reads the payload of a message. The numbers in it may be any.
func ParsePlan(b []byte) (Plan, error) {
	if len(b) < 4 || len(b)%8 != 4 {
		return Plan{}, weir.Errorf(weir.ErrInvalid, "a message of the plan extension has %d bytes", len(b))
	}
	n, b := binary.BigEndian.Uint32(b), b[4:]
	if uint64(n)*8 > uint64(len(b)) || n > MaxWanted {
		return Plan{}, weir.Errorf(weir.ErrInvalid, "a message of the plan extension has %d spans in %d bytes", n, len(b))
	}
	pairs := make([][2]int, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		pairs = append(pairs, [2]int{int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))})
	}
	return Plan{Wanted: pairs[:n], Fetching: pairs[n:]}, nil
}
