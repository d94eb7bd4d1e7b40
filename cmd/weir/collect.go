package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The heap may grow further between collections than Go's default allows: each
// answer to the kernel is a buffer of 128 KiB beside little that lives, and at 100
// percent a GiB read costs some 440 collections, at 400 some 85. But what that
// takes is room, not a share: beside the metadata of a million files 400 percent
// would be half a gigabyte of garbage. So the percentage falls while what lives
// grows, down to Go's default.
const (
	mostPercent  = 400
	leastPercent = 100
	roomBytes    = 24 << 20
	// memoryBytes is where growing ends: the engine's budget and as much again.
	memoryBytes = 512 << 20
)

// percentFor returns the percentage for a heap of which so many bytes live.
func percentFor(live uint64) int {
	return int(min(max(roomBytes*100/max(live, 1), leastPercent), mostPercent))
}

// collectSeldom sets how often memory is collected, from now on after each
// collection, unless the user has.
func collectSeldom() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(memoryBytes)
	debug.SetGCPercent(mostPercent)
	now := mostPercent
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	// A finalizer runs after the collection that finds its object unused, and may
	// give it another life. The runtime tells of collections in no other way.
	type mark struct{ _ [16]byte } // of a size that shares no allocation
	var after func(*mark)
	after = func(m *mark) {
		metrics.Read(live)
		if p := percentFor(live[0].Value.Uint64()); p < now*9/10 || p > now*11/10 {
			debug.SetGCPercent(p)
			now = p
		}
		runtime.SetFinalizer(m, after)
	}
	runtime.SetFinalizer(new(mark), after)
}
