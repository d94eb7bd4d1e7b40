// Package tree arranges the files of a torrent in folders: safe and unique names, numbered
// entries, symbolic links. It also says which paths sorting folders may have. It is pure.
//
// What must not live here: what the kernel knows of an entry, and where torrents are.
package tree
