package fs

import "github.com/weirfs/weir/fs/internal/tree"

// SafeName returns the name under which something with a raw name from a torrent is
// shown: escaped as docs/semantics.md says, 255 bytes at most.
func SafeName(raw string) string { return tree.SafeName(raw) }

// RawName undoes SafeName for names that were not cut.
func RawName(safe string) string { return tree.RawName(safe) }
