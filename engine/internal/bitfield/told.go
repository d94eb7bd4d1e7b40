package bitfield

// MaxHavesAtOnce bounds the haves that wait for one peer, 9 bytes each.
const MaxHavesAtOnce = 1 << 16

// Told is what one peer was told of the pieces that we hold.
//
// A cache forgets, so a piece that it was told of may be gone. A peer that knows
// lt_donthave (BEP 54) is told; another one goes on believing, and what it asks for is
// rejected.
type Told struct {
	Telling bool // it was greeted before we knew what we hold, and was not told of all since

	haves      int   // of the pieces below this it was told
	dontHaveID int   // its number for lt_donthave, 0 if it has none
	handshake  bool  // its extension handshake is here
	losses     []int // pieces that are gone, until it can be told
	maxWaiting int
}

// NewTold returns what a new peer was told: nothing. Of a peer whose extension handshake
// is not here yet, maxWaiting losses are remembered.
func NewTold(maxWaiting int) Told { return Told{maxWaiting: maxWaiting} }

// Haves returns what to tell now of what is held to a peer that was greeted before that
// was known: a bitfield may only come first (BEP 3), so by haves, of a large torrent in
// several turns.
func (t *Told) Haves(held []bool) (haves []int) {
	for ; len(haves) < MaxHavesAtOnce && t.haves < len(held); t.haves++ {
		if held[t.haves] {
			haves = append(haves, t.haves)
		}
	}
	t.Telling = t.haves < len(held)
	return haves
}

// Lost says that a piece is gone, and returns the peer's number for lt_donthave if it is
// to be told now, 0 if not. extended says that it speaks the extension protocol at all.
func (t *Told) Lost(index int, extended bool) (dontHaveID int) {
	if t.dontHaveID == 0 && extended && !t.handshake && len(t.losses) < t.maxWaiting {
		t.losses = append(t.losses, index)
	}
	return t.dontHaveID
}

// Handshake takes the peer's number for lt_donthave, 0 if it has none, and returns the
// pieces that were lost meanwhile.
func (t *Told) Handshake(dontHaveID int) (losses []int) {
	losses = t.losses
	t.dontHaveID, t.handshake, t.losses = dontHaveID, true, nil
	return losses
}
