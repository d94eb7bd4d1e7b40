package fs

import (
	"time"
)

// RestoreRemoved shows what was removed inside of torrents and is due then.
func RestoreRemoved(f *FS, now time.Time) { f.removals.restoreDue(now) }

// DropIncoming drops files that were copied in and are due then.
func DropIncoming(f *FS, now time.Time) { f.incoming.dropDue(now) }

// Incoming returns how many files are being copied in, or were just now.
func Incoming(f *FS) int { return len(f.incoming.all()) }

// LookAgain lets looks into a torrent wait again.
func LookAgain(f *FS, t *FakeTorrent) {
	f.root.byInfoHash(t.ih).failed.set(0, time.Now().Add(-failFor))
}

// FakeName returns the name in a fake torrent's metadata.
func FakeName(t *FakeTorrent) string { return t.info.Name }

// Waits returns how many requests wait.
func Waits(f *FS) int { return len(f.server.Waiting()) }

// Point returns where f is mounted.
func Point(f *FS) string { return f.mounted.Point() }

// Device returns the mount's device number, as in /sys/class/bdi, and its options.
func Device(f *FS) (device, options string) { return f.mounted.Device(), f.mounted.Options() }
