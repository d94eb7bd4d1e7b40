package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/background"
	"github.com/weirfs/weir/cmd/internal/config"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/daemon"
)

const serveLong = `serve shows torrents over HTTP and WebDAV, without a mount: it needs neither
FUSE nor root. It runs until it is interrupted (Ctrl-C). It fetches only what
clients read, and a little ahead of them.

  http://127.0.0.1:8480/                    a page with what is there
  http://127.0.0.1:8480/f/PATH              a file, or ranges of it
  http://127.0.0.1:8480/t/INFOHASH/PATH     the same, by the info hash
  http://127.0.0.1:8480/playlist/PATH.m3u8  the films and music in a folder
  http://127.0.0.1:8480/dav/                WebDAV, to read

Listings are JSON for clients that ask for it (Accept: application/json). With
?download behind its address, a browser saves a file instead of showing it.

On this machine everybody may read. If --http is an address that other machines
can reach, clients need a token. It is printed and kept in the cache folder;
clients send it in the address (?token=…) or as password, with any user name.

Where other commands want a path in a mount, give them the cache folder, or a
path beneath it: weir ls ~/.cache/weir

SOURCE, flags and settings are those of weir mount; settings about the mount
itself change nothing here.

` + exitCodes

// serveAddr is where serve answers by default.
const serveAddr = "127.0.0.1:8480"

func newServe() *cobra.Command {
	var o daemonFlags
	var life life
	cmd := &cobra.Command{
		Use:   "serve [flags] [SOURCE…]",
		Short: "show torrents over HTTP and WebDAV, without a mount",
		Long:  serveLong,
		Example: `  weir serve debian.torrent
  weir serve --http 0.0.0.0:8480 'magnet:?xt=urn:btih:…'
  curl -r 0-99 http://127.0.0.1:8480/f/debian/README`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := settings(cmd.Flags(), config.ThisHost())
			if err != nil {
				return err
			}
			o.Sources = args
			if len(args) == 0 {
				o.Sources = s.Torrents
			}
			if o.HTTP.Addr == "" {
				return usageError{errors.New("--http is empty: want an address such as " + serveAddr), cmd.CommandPath()}
			}
			if err := o.complete(cmd); err != nil {
				return err
			}
			if !o.noControl {
				if o.Control, err = control.SocketPath(o.CacheDir, o.CacheDir); err != nil {
					return err
				}
			}
			return serve(cmd.Context(), o.Options, life.sandbox, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.register(cmd)
	o.registerHTTP(f, serveAddr)
	o.registerLog(cmd)
	f.StringVar(&life.configFile, config.FileFlag, "", "read settings from `FILE` (default ~/.config/weir/config.yaml, else /etc/weir/config.yaml)")
	f.BoolVar(&life.sandbox, "sandbox", true, "once it serves, give up access to all files that weir doesn't need")
	// What the settings file may have for weir mount.
	for _, flag := range mountOnlyFlags() {
		f.AddFlag(flag)
		flag.Hidden = true
	}
	return cmd
}

// serve serves until ctx ends.
func serve(ctx context.Context, o daemon.Options, sandbox bool, stdout io.Writer) error {
	d := daemon.New(o)
	if err := d.Open(ctx); err != nil {
		return errors.Join(err, d.Close())
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, stopSignals...)
	defer signal.Stop(again)
	ready := background.NewReadyNotifier(0, "", o.Log)
	defer ready.Close()
	if sandbox {
		enterSandbox(o, d.Served())
	}
	ready.Ready(d.Names())
	fmt.Fprintf(stdout, "serving at %s, Ctrl-C ends:\n", d.URL())
	printShown(stdout, d)
	<-ctx.Done()
	ready.Stopping()
	return leave(ctx, d, again, func() {}, func() error { return nil })
}
