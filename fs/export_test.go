package fs

import (
	"time"
)

// ShowHidden shows what was hidden and is due then.
func ShowHidden(f *FS, now time.Time) { f.showHidden(now) }

// ForgetDrafts drops files that were copied in and are due then.
func ForgetDrafts(f *FS, now time.Time) { f.forgetDrafts(now) }

// Drafts returns how many files are being copied in, or were just now.
func Drafts(f *FS) int { return len(f.root.allDrafts()) }

// LookAgain lets looks into a torrent wait again.
func LookAgain(f *FS, t *FakeTorrent) {
	f.root.byInfoHash(t.ih).late.note(0, time.Now().Add(-lateLookFor))
}

// FakeName returns the name in a fake torrent's metadata.
func FakeName(t *FakeTorrent) string { return t.info.Name }

// Waits returns how many requests wait.
func Waits(f *FS) int {
	f.waits.mu.Lock()
	defer f.waits.mu.Unlock()
	return len(f.waits.byID)
}

// Point returns where f is mounted.
func Point(f *FS) string { return f.mounted.Point() }

// Device returns the mount's device number, as in /sys/class/bdi, and its options.
func Device(f *FS) (device, options string) { return f.mounted.Device(), f.mounted.Options() }
