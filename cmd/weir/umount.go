package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/background"
	"github.com/weirfs/weir/fs/mountpoint"
)

func newUmount() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount [flags] DIR",
		Short: "unmount what weir mounted on DIR",
		Long: `umount unmounts DIR and returns when its weir process has stored what it fetched
and ended. It also removes a mount that a crashed weir left behind. If programs
still use the mount, or if it is visible elsewhere (a bind mount, a container,
another mount namespace), umount names them and leaves the mount alone.

` + exitCodes,
		Example: `  weir umount ~/t
  weir umount --lazy ~/t    # hide it now, end it with its last user`,
		Args:              usage(cobra.ExactArgs(1), "one folder"),
		ValidArgsFunction: completeMountpoint,
		RunE: func(cmd *cobra.Command, args []string) error {
			return umount(cmd.Context(), args[0], lazy)
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "z", false, "unmount even if programs use it, and don't wait; they can go on reading their open files")
	return cmd
}

// umount unmounts, and waits for the weir behind it if that can be found.
func umount(ctx context.Context, dir string, lazy bool) error {
	var server *background.Server
	if !lazy {
		if server = serverOf(ctx, dir); server != nil {
			defer server.Close()
		}
	}
	m, err := mountpoint.Find(dir)
	if err != nil {
		return err
	}
	if err := m.Unmount(ctx, lazy); err != nil || server == nil {
		return err
	}
	for waited, step := time.Duration(0), leftAfter; ; waited += step {
		wait, cancel := context.WithTimeout(ctx, step)
		err := server.Wait(wait)
		cancel()
		left := m.Remaining()
		switch {
		case err == nil:
			return nil
		case left != "":
			return fmt.Errorf("%s is unmounted, but weir (process %d) is still running: %s", dir, server.PID, left)
		case ctx.Err() != nil:
			return fmt.Errorf("%s is unmounted; weir (process %d) is still storing what it fetched: %w", dir, server.PID, err)
		case waited+step >= storeTimeout:
			return fmt.Errorf("%s is unmounted; weir (process %d) is still storing what it fetched after %v, and will end then", dir, server.PID, storeTimeout)
		}
	}
}

// How long weir may take to store what it fetched, and when to look whether somebody
// else keeps it from ending.
const (
	storeTimeout = 2 * time.Minute
	leftAfter    = 2 * time.Second
)

// findTimeout bounds asking a mount that may be stuck.
const findTimeout = 3 * time.Second

// serverOf returns the process behind a mount, nil if it can't be told.
func serverOf(ctx context.Context, dir string) *background.Server {
	asking, stop := context.WithTimeout(ctx, findTimeout)
	defer stop()
	place, err := api.FindContext(asking, dir)
	if err != nil || place.Path != "" {
		return nil // nothing is mounted here, or it has died, or is stuck
	}
	server, err := background.FindServer(ctx, place.Socket)
	if err != nil {
		return nil // it may be about to end, or another user's
	}
	return server
}
