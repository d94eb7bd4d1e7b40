package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

// ownerFile is the cache's lock file, which says who has it.
const ownerFile = "owner"

// existing returns the folder itself, or the nearest existing one above it.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func checkCache(_ context.Context, o Options) Finding {
	const name, other = "cache", "name another folder with --cache"
	at := existing(o.CacheDir)
	if info, err := os.Stat(at); err != nil {
		return Finding{name, Fail, weir.ErrorText(err), other}
	} else if !info.IsDir() {
		return Finding{name, Fail, at + " is a file", other}
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return Finding{name, Fail, "you may not write in " + at, other + ", or make it yours: sudo chown -R $USER " + at}
	}
	if at != o.CacheDir {
		return Finding{name, OK, o.CacheDir + " will be made by the first mount", ""}
	}
	if who := holder(filepath.Join(o.CacheDir, ownerFile)); who != "" {
		return Finding{name, Warn, o.CacheDir + " is in use by " + who, "a second weir at the same time needs a folder of its own: --cache"}
	}
	return Finding{name, OK, o.CacheDir + " can be written, and no weir uses it", ""}
}

// holder returns who holds the lock, "" if nobody does.
func holder(lock string) string {
	f, err := os.Open(lock)
	if err != nil {
		return ""
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return "" // closing releases it
	}
	var owner struct {
		PID        int
		Mountpoint string
	}
	if err := json.NewDecoder(f).Decode(&owner); err != nil || owner.PID == 0 {
		return "another weir"
	}
	if owner.Mountpoint == "" {
		return fmt.Sprintf("weir with process id %d", owner.PID)
	}
	return fmt.Sprintf("weir with process id %d, mounted on %s", owner.PID, owner.Mountpoint)
}

// littleSpace is too little for a useful cache.
const littleSpace = 1 << 30

func checkSpace(_ context.Context, o Options) Finding {
	const name = "space"
	at := existing(o.CacheDir)
	var st syscall.Statfs_t
	if err := syscall.Statfs(at, &st); err != nil {
		return Finding{name, Warn, at + ": " + weir.ErrorText(err), "name another folder with --cache"}
	}
	free := st.Bavail * uint64(st.Bsize)
	text := fmt.Sprintf("%s are free in %s", humanize.IBytes(free), at)
	switch {
	case free < littleSpace:
		return Finding{name, Warn, text, "make room, or name a folder on another disk with --cache"}
	case o.CacheBytes > 0 && uint64(o.CacheBytes) > free:
		return Finding{name, Warn, fmt.Sprintf("%s, less than --cache-size %s", text, humanize.IBytes(uint64(o.CacheBytes))),
			"make room, or set --cache-size lower, unless the cache fills that space already"}
	}
	return Finding{name, OK, text, ""}
}

// badFileSystems are those on which a cache works badly, by the magic number
// of statfs(2).
var badFileSystems = map[int64]string{
	unix.NFS_SUPER_MAGIC:       "NFS: locks and memory maps are slow or missing there",
	unix.SMB_SUPER_MAGIC:       "SMB: locks and memory maps are slow or missing there",
	unix.SMB2_SUPER_MAGIC:      "SMB: locks and memory maps are slow or missing there",
	unix.CIFS_SUPER_MAGIC:      "SMB: locks and memory maps are slow or missing there",
	unix.V9FS_MAGIC:            "9p: memory maps are slow or missing there",
	unix.CEPH_SUPER_MAGIC:      "Ceph: a network between weir and its cache",
	unix.AFS_SUPER_MAGIC:       "AFS: locks and memory maps are slow or missing there",
	unix.FUSE_SUPER_MAGIC:      "FUSE: memory maps may be slow there, and it must not be a mount of weir",
	unix.MSDOS_SUPER_MAGIC:     "FAT: no file over 4 GiB, and holes take space",
	unix.TMPFS_MAGIC:           "memory (tmpfs): what is cached takes memory and is gone after a restart",
	unix.RAMFS_MAGIC:           "memory (ramfs): what is cached takes memory and is gone after a restart",
	unix.ECRYPTFS_SUPER_MAGIC:  "eCryptfs: slow",
	unix.OVERLAYFS_SUPER_MAGIC: "a container's own file system (overlay): it is gone with the container",
}

func checkFileSystem(_ context.Context, o Options) Finding {
	at := existing(o.CacheDir)
	var st syscall.Statfs_t
	if err := syscall.Statfs(at, &st); err != nil {
		return Finding{} // checkSpace reports this
	}
	if why, ok := badFileSystems[int64(st.Type)&0xffffffff]; ok {
		return Finding{"disk", Warn, at + " is on " + why, "name a folder on a local disk with --cache"}
	}
	return Finding{"disk", OK, "the cache's folder is on a local disk", ""}
}
