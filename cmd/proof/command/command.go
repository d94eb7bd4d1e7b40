// Package command is the code that the main functions of this project's tools share.
// What a tool does lives with the tool.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Main runs a tool and ends the process with its exit code. A first signal ends ctx, a
// second one has its usual effect. An error is printed after the tool's name.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	os.Exit(code)
}
