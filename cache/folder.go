package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

// What stands in the cache folder. A folder that has something in it but no
// version file is not ours and stays untouched.
const (
	versionName  = "version"
	tagName      = "CACHEDIR.TAG"
	ownerName    = "owner"
	ballastName  = "ballast"
	indexName    = "index"
	segmentsName = "segments"
	controlName  = "control" // a mount's socket may lie there, made before all else

	versionText = "weir cache 2\n"

	// Version 1 had its records in a folder that was a database of the same kind, and
	// pieces in databases of their own.
	oldVersionText  = "weir cache 1\n"
	catalogueName   = "catalogue"
	generationsName = "generations"

	// tagText is the signature of https://bford.info/cachedir/, by which backup
	// programs know that they may pass over the folder.
	tagText = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of weir. Its content is fetched again when it is lost.\n"
)

// Owner is what the lock file says about the process that has the folder.
type Owner struct {
	PID        int    `json:"pid"` // 0: it has not said
	Mountpoint string `json:"mountpoint,omitempty"`
	Control    string `json:"control,omitempty"` // path of its control socket
}

// InUseError says who has the folder. It wraps weir.ErrInUse.
type InUseError struct{ Owner Owner }

func (e *InUseError) Error() string {
	switch {
	case e.Owner.PID == 0:
		return "another process uses it"
	case e.Owner.Mountpoint == "":
		return fmt.Sprintf("weir (process %d) uses it", e.Owner.PID)
	}
	return fmt.Sprintf("weir (process %d), mounted at %s, uses it", e.Owner.PID, e.Owner.Mountpoint)
}

// Unwrap returns weir.ErrInUse.
func (e *InUseError) Unwrap() error { return weir.ErrInUse }

// folder is a locked cache folder.
type folder struct {
	dir    string
	lock   *os.File
	log    *slog.Logger
	homes  []disk.Home // what it consists of, to see whether it is there
	isLost atomic.Bool
	looked atomic.Int64 // when that was looked up, since the start of the process
}

// openFolder makes the folder if need be, checks that it is ours and locks it.
// The error wraps weir.ErrInUse when another process has the lock, and
// weir.ErrInvalid when the folder is not a weir cache or of another version. With
// mustExist it wraps weir.ErrNotFound when there is no cache, and makes none.
func openFolder(dir string, me Owner, mustExist bool, log *slog.Logger) (*folder, error) {
	if _, err := os.Stat(filepath.Join(dir, versionName)); mustExist && errors.Is(err, fs.ErrNotExist) {
		return nil, weir.Errorf(weir.ErrNotFound, "open cache %s: there is none", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if err := checkVersion(dir); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	f := &folder{dir: dir, lock: lock, log: log}
	if err := f.take(me); err != nil {
		return nil, errors.Join(fmt.Errorf("open cache %s: %w", dir, err), lock.Close())
	}
	return f, nil
}

func isVersion(b []byte, text string) bool {
	return strings.TrimSpace(string(b)) == strings.TrimSpace(text)
}

func checkVersion(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, versionName))
	switch {
	case err == nil && (isVersion(b, versionText) || isVersion(b, oldVersionText)):
		return nil
	case err == nil && len(b) > 0 && strings.HasPrefix(string(b), "weir cache "):
		return weir.Errorf(weir.ErrInvalid, "it was made by another version of weir (%q, this one reads %q); use that version or another folder",
			strings.TrimSpace(string(b)), strings.TrimSpace(versionText))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// No version, or one that a power loss has emptied: ours if nothing strange is there.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); name {
		case versionName, tagName, ownerName, ballastName, indexName, segmentsName, catalogueName, generationsName, controlName, "lost+found":
		default:
			if !strings.HasPrefix(name, ".new-") && !strings.HasPrefix(name, catalogueName+".") && !strings.HasPrefix(name, indexName+".") {
				return weir.Errorf(weir.ErrInvalid, "it is not empty and not a cache of weir (it has %s in it)", name)
			}
		}
	}
	if err := disk.WriteWhole(filepath.Join(dir, tagName), []byte(tagText)); err != nil && !disk.IsFull(err) {
		return err
	}
	return disk.WriteWhole(filepath.Join(dir, versionName), []byte(versionText))
}

// take locks the folder for this process and writes down who has it.
func (f *folder) take(me Owner) error {
	err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		other := new(InUseError)
		b, _ := os.ReadFile(f.lock.Name())
		_ = json.Unmarshal(b, &other.Owner) // what can't be read is not told
		return other
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	b, err := json.Marshal(me)
	if err != nil {
		return err
	}
	if err := f.lock.Truncate(0); err != nil {
		return err
	}
	// On a full disk the lock still holds, it is just less talkative.
	if _, err := f.lock.WriteAt(append(b, '\n'), 0); err != nil && !disk.IsFull(err) {
		return err
	}
	return nil
}

// free gives the lock back.
func (f *folder) free() error {
	return errors.Join(f.lock.Truncate(0), f.lock.Close())
}

// upgrade takes a folder of version 1 over: the records as they are; the pieces,
// which are fetched again, go. A crash in the middle is gone on from.
func (f *folder) upgrade() error {
	version := filepath.Join(f.dir, versionName)
	if b, err := os.ReadFile(version); err != nil || !isVersion(b, oldVersionText) {
		return err
	}
	old, index := filepath.Join(f.dir, catalogueName), filepath.Join(f.dir, indexName)
	if _, err := os.Stat(old); err == nil {
		if err := errors.Join(os.RemoveAll(index), os.Rename(old, index)); err != nil {
			return fmt.Errorf("take over the old catalogue: %w", err)
		}
	}
	pieces := filepath.Join(f.dir, generationsName)
	bytes := disk.Allocated(pieces)
	if err := errors.Join(os.RemoveAll(pieces), disk.WriteWhole(version, []byte(versionText))); err != nil {
		return fmt.Errorf("drop the old pieces: %w", err)
	}
	f.log.Warn("the cache was made by an older weir: torrents and pins are kept, pieces are fetched again when they are read", "dir", f.dir, "dropped", bytes)
	return nil
}

// lookEvery is how often it is looked whether the folder is there.
const lookEvery = 50 * time.Millisecond

// lost returns the error that writing fails with once the folder is gone. Somebody may
// remove it while it is in use (rm -rf), move it away, or put another in its place:
// what is open can be read on, and nothing more is written.
func (f *folder) lost() error {
	if now := int64(time.Since(started)); f.isLost.Load() || now-f.looked.Load() > int64(lookEvery) {
		f.looked.Store(now)
		return f.look()
	}
	return nil
}

// look is lost as of now. It logs once that the folder is gone.
func (f *folder) look() error {
	gone := f.isLost.Load()
	for _, h := range f.homes {
		gone = gone || h.Gone()
	}
	if !gone {
		return nil
	}
	if !f.isLost.Swap(true) {
		f.log.Error("the cache folder was removed: nothing more is kept there, and what is fetched is served from memory; unmount and mount again to have a cache", "dir", f.dir)
	}
	return weir.Errorf(weir.ErrNoSpace, "the cache folder %s was removed", f.dir)
}

var started = time.Now()
