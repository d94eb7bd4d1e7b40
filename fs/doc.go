// Package fs shows torrents as folders through FUSE: the tree of names, their
// inodes, attributes and extended attributes, the mount itself, and the one
// place that turns errors into errnos. What programs change in the mount, it asks a
// Host to do, which does it by the methods of FS.
//
// It speaks to bazil's fuse.Conn itself. Torrents never change under a file, so
// a node id is the inode and is computed from the info hash and a number in the
// torrent's tree: there is no node table and nothing to forget, and a tree that
// nobody uses can be dropped and made again. One goroutine, helped by others while
// files are read, takes requests and answers inline whatever needs no waiting, a read of held bytes
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
