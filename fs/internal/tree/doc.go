// Package tree lays the files of a torrent out as folders: names that a folder can
// hold, made of whatever names a torrent has, entries numbered by them, symbolic
// links followed, and which paths sorting folders may have. It is pure.
//
// What must not live here: what the kernel knows of an entry, and where torrents are.
package tree
