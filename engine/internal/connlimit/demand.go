package connlimit

import "time"

// Demand is how much a torrent needs its peers.
type Demand struct {
	Awaited bool          // somebody waits for pieces or for the metadata
	Wanted  bool          // something is wanted ahead
	Waited  time.Duration // the longest that a read waits
}

// enoughGivers is how many peers must give blocks for the others to keep their
// slots while something is awaited, and givingFor how long ago their last may be.
// A read that waits for as long as starvedAfter waits for better peers.
const (
	enoughGivers = 4
	givingFor    = 10 * time.Second
	starvedAfter = 2 * time.Second
)

// Giving reports whether a peer counts as a giver whose last block came at gave.
func Giving(gave, now time.Time) bool { return !gave.IsZero() && now.Sub(gave) < givingFor }

// Starved reports whether something is awaited or wanted, and too few peers give blocks.
func (d Demand) Starved(givers int) bool {
	return (d.Awaited || d.Wanted) && (d.Waited > starvedAfter || givers < enoughGivers)
}

// Share is how many of the connections each of so many torrents may count on.
func Share(connections, torrents int) int { return max(1, connections/max(1, torrents)) }
