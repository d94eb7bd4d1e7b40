// Package fs shows torrents as folders through FUSE: the tree of names, their
// inodes, attributes and extended attributes, the mount itself, and the one
// table that turns errors into errnos.
//
// It speaks to bazil's fuse.Conn itself. Torrents never change under a file, so
// a node id is the inode and is computed from the info hash and a number in the
// torrent's tree: there is no node table and nothing to forget. A few goroutines
// read requests and answer inline whatever needs no waiting, a read of held bytes
// among it; only what must wait for the swarm or for a magnet's metadata gets a
// goroutine, and an entry by which an interrupt can end it.
//
// What must not live here: anything about peers, pieces, storage or prefetch.
// The package sees torrents through the interfaces Torrent and File and imports
// neither the engine nor the cache nor the reader.
//
// All locks but FS.mu are leaves: nothing is called under them, in particular no
// Torrent, no File and nothing that tells the kernel of a change. FS.mu guards the
// life of the mount and is held while mounting, so that Close waits for Mount; no
// request needs it.
package fs
