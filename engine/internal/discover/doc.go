// Package discover finds peers for warm torrents and lets others find us:
// trackers over HTTP and UDP (BEP 3, 7, 12, 15, 23, 31, 41, 48), the DHT (BEP 5,
// 32, 42, 43), local service discovery (BEP 14) and the messages of peer
// exchange (BEP 11).
//
// Where to announce next, when, what to believe and what to tell is decided by
// types without I/O (tier, lookup, lsdRound, PexOut, PexIn), which take facts
// and the time. One goroutine per torrent, the one that calls Run, carries them
// out; while it waits, the torrent has no other.
//
// Connections to peers, which address to dial and what a peer is worth live
// elsewhere: this package hands out addresses and forgets them.
//
// Nothing is read from the environment: HTTP_PROXY and its like don't count,
// because a proxy would have the tracker list the proxy's address as ours.
// Certificates of https trackers are verified.
package discover
