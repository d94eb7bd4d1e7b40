package swarmtest

import "time"

// Faults are the ways in which a seeder misbehaves. The zero Faults is an
// honest seeder. Unless something else is said they can be switched on and off
// while connections are open (Seeder.SetFaults).
type Faults struct {
	// Of the connection, looked at when it is made.
	Mute          bool // accepts, reads, and never says a word
	WrongInfoHash bool // answers the handshake with another info hash
	NoFast        bool // no fast extension (BEP 6)
	NoExtended    bool // no extension protocol (BEP 10), so no metadata either
	BitfieldExtra bool // sends a bitfield that is a byte too long
	BitfieldSpare bool // sends a bitfield with a bit set behind the last piece

	// Of timing.
	Freeze      bool          // keeps the connections open and sends nothing at all
	FreezeAfter int64         // the same once the seeder has sent so many bytes of blocks; 0 is off
	DropAfter   int64         // closes a connection, in mid-block, after so many bytes of blocks; 0 is off
	ReplyDelay  time.Duration // each block leaves so much later, others may follow meanwhile

	// Of choking. The cycle starts with the connection: open for ChokeEvery,
	// choked for ChokeFor, and again.
	Choke                bool // never unchokes, chokes who was unchoked
	ChokeEvery, ChokeFor time.Duration

	// Of requests.
	RejectAll   bool                 // rejects every request (BEP 6); without the fast extension, forgets it
	IgnoreAll   bool                 // forgets every request
	DropSurplus bool                 // forgets requests over the queue limit where it could reject them
	LateBlocks  bool                 // sends blocks although they were cancelled in time
	Corrupt     func(piece int) bool // flips a byte in each block of these pieces; called concurrently

	// Of what it sends once per connection, as soon as it can.
	Garbage  bool // 4 KiB that are no message
	Overlong bool // a message that claims 2 GiB
	BadHave  bool // haves of pieces that the torrent doesn't have
	Unasked  bool // a block that nobody asked for, and one more before each block

	// Of metadata (BEP 9).
	MetadataReject  bool          // refuses every request for it
	MetadataSilent  bool          // never answers one
	MetadataCorrupt bool          // flips a byte in each piece of it
	MetadataDelay   time.Duration // answers so much later
	MetadataSize    int64         // claims another size, and serves zeros behind the end; 0 is off; not of open connections

	// Of v2 torrents (BEP 52).
	NoGaps          bool // rejects requests of more than a file has in its last block, and of padding, which it has not
	HashesReject    bool // rejects every request for hashes
	HashesNoProof   bool // rejects those with proof layers, as anacrolix/torrent does
	HashesSilent    bool // never answers one
	HashesUnchecked bool // rejects those for hashes of blocks before it has sent one of that piece, as libtorrent does that never checked its data
	HashesWrong     bool // flips a byte in each answer
}

// choked reports whether a connection of this age is choked now, and after how long that
// changes (0: never).
func (f *Faults) choked(age time.Duration) (bool, time.Duration) {
	if f.Choke {
		return true, 0
	}
	if f.ChokeEvery <= 0 || f.ChokeFor <= 0 {
		return false, 0
	}
	at := age % (f.ChokeEvery + f.ChokeFor)
	if at < f.ChokeEvery {
		return false, f.ChokeEvery - at
	}
	return true, f.ChokeEvery + f.ChokeFor - at
}

// exact reports whether blocks must be sent one by one, so that faults happen at the
// right byte.
func (f *Faults) exact() bool {
	return f.FreezeAfter > 0 || f.DropAfter > 0 || f.Unasked
}
