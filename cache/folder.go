package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

// What stands in the cache folder. A folder that has something in it but no
// version file is not ours and stays untouched.
const (
	versionName     = "version"
	tagName         = "CACHEDIR.TAG"
	ownerName       = "owner"
	ballastName     = "ballast"
	catalogueName   = "catalogue"
	generationsName = "generations"
	controlName     = "control" // a mount's socket may lie there, made before all else

	versionText = "weir cache 1\n"

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
		return weir.ErrInUse.Error()
	case e.Owner.Mountpoint == "":
		return fmt.Sprintf("by weir with process id %d: %v", e.Owner.PID, weir.ErrInUse)
	}
	return fmt.Sprintf("by weir with process id %d, mounted at %s: %v", e.Owner.PID, e.Owner.Mountpoint, weir.ErrInUse)
}

// Unwrap returns weir.ErrInUse.
func (e *InUseError) Unwrap() error { return weir.ErrInUse }

// folder is a locked cache folder.
type folder struct {
	dir  string
	lock *os.File
}

// openFolder makes the folder if need be, checks that it is ours and locks it.
// The error wraps weir.ErrInUse when another process has the lock, and
// weir.ErrInvalid when the folder is not a weir cache or of another version. With
// mustExist it wraps weir.ErrNotFound when there is no cache, and makes none.
func openFolder(dir string, me Owner, mustExist bool) (*folder, error) {
	if _, err := os.Stat(filepath.Join(dir, versionName)); mustExist && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open cache %s: there is none: %w", dir, weir.ErrNotFound)
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
	f := &folder{dir: dir, lock: lock}
	if err := f.take(me); err != nil {
		return nil, errors.Join(fmt.Errorf("open cache %s: %w", dir, err), lock.Close())
	}
	return f, nil
}

func checkVersion(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, versionName))
	switch {
	case err == nil && strings.TrimSpace(string(b)) == strings.TrimSpace(versionText):
		return nil
	case err == nil && len(b) > 0 && strings.HasPrefix(string(b), "weir cache "):
		return fmt.Errorf("it was made by another version of weir (%q, this one reads %q); use that version or another folder: %w",
			strings.TrimSpace(string(b)), strings.TrimSpace(versionText), weir.ErrInvalid)
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
		case versionName, tagName, ownerName, ballastName, catalogueName, generationsName, controlName, "lost+found":
		default:
			if !strings.HasPrefix(name, ".new-") && !strings.HasPrefix(name, catalogueName+".") {
				return fmt.Errorf("it is not empty and not a cache of weir (it has %s in it): %w", name, weir.ErrInvalid)
			}
		}
	}
	if err := writeWhole(filepath.Join(dir, tagName), []byte(tagText)); err != nil && !isFull(err) {
		return err
	}
	return writeWhole(filepath.Join(dir, versionName), []byte(versionText))
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
	if _, err := f.lock.WriteAt(append(b, '\n'), 0); err != nil && !isFull(err) {
		return err
	}
	return nil
}

// free gives the lock back.
func (f *folder) free() error {
	return errors.Join(f.lock.Truncate(0), f.lock.Close())
}

// The ballast is space that is held so that badger, which flushes through
// memory maps when a database is closed, finds some on a full disk.
const ballastBytes = 8 << 20

// setBallast takes the space of the ballast, as far as there is any.
func (f *folder) setBallast() error {
	b, err := os.OpenFile(filepath.Join(f.dir, ballastName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(preallocate(b, 0, ballastBytes), b.Close())
}

// dropBallast gives it back.
func (f *folder) dropBallast() {
	// Truncating to the size that it has frees what lies behind.
	_ = os.Remove(filepath.Join(f.dir, ballastName))
}
