// Command weir mounts torrents as folders. What lives here is the command line:
// one thin file for each command, with flags, help, exit codes and error messages.
// What a command does lives in cmd/internal and in weir's packages.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stopSignals end a command cleanly when they come first and by force when
// they come again.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

func main() {
	collectSeldom()
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals...)
	context.AfterFunc(ctx, stop) // the second signal has its usual effect, unless a command listens for it
	if isHelperCall(os.Args[0], os.Args[1:]) {
		os.Exit(mountHelper(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(report(os.Stderr, run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}
