// Package webseed asks web servers for the files of a torrent (BEP 19). A Seed is
// asked for blocks as a peer is, and makes requests of ranges of files of them.
//
// Decisions are pure and take the time: where a file is (Locate), what an answer
// means (Judge), what a server has and whose fault a wrong piece is (Site), which
// servers are asked (Choice), and which requests blocks become (schedule). Client and
// Seed carry them out.
//
// What must not live here: which block is wanted when, hashes, peers, and the rule
// of which addresses may be asked (netrule, in the pool that Client is given).
package webseed
