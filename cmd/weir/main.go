// Command weir mounts torrents as folders. What lives here is the command line:
// one thin file per command, flags, help, exit codes and the words of errors.
// What a command does lives in cmd/internal and in weir's packages.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// stopSignals end a command cleanly when they come first and by force when
// they come again.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// gcPercent lets the heap grow further between collections than Go's default:
// each answer to the kernel is a buffer of 128 KiB beside little that lives, and
// at 100 a GiB read costs some 440 collections, at 400 some 85.
// memoryBytes is where that ends: the engine's budget and as much again.
const (
	gcPercent   = 400
	memoryBytes = 512 << 20
)

func main() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryBytes)
	}
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals...)
	context.AfterFunc(ctx, stop) // the second signal has its usual effect, unless a command listens for it
	if isHelperCall(os.Args[0], os.Args[1:]) {
		os.Exit(mountHelper(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(report(os.Stderr, run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}
