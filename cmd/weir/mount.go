package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/fs/mountpoint"
)

const mountLong = `mount shows each torrent as a folder in DIR. It runs in the foreground until it
is interrupted (Ctrl-C) or unmounted (weir umount DIR). It fetches only what
programs read, and a little ahead of them.

Torrents added earlier are there again at once, without a network: the list is
in the cache folder. weir add, weir rm and weir mv change it while weir runs; so
do cp, rm -r and mv in DIR. With --ephemeral there is no such list.

A SOURCE is one of
  a .torrent file      ./debian.torrent
  its web address      https://example.org/debian.torrent
  the page of an item  https://archive.org/details/ITEM
                       https://academictorrents.com/details/HASH
  a magnet             'magnet:?xt=urn:btih:…'   (quoted, because of the &)
  an info hash         40 hexadecimal digits; peers come from the DHT or --peer
  a text file          with magnets, info hashes and web addresses, one a line
  a shortcut           to a magnet or an address: .url, .desktop

All sources are read at the same time. If one can't be read or is not safe to
mount, the command fails: for a file or a magnet before anything is mounted, for
a web address as soon as that is known. A magnet needs no peers to be mounted:
its folder is there at once and fills when a peer has sent the metadata.

Ctrl-C unmounts. Programs that still use the mount get a second to finish; a
second Ctrl-C ends weir at once. With --detach weir runs in the background.

Every flag can also be set by an environment variable (WEIR_CACHE_SIZE=20GiB) or
in a settings file: see weir config --help.

` + exitCodes

func newMount() *cobra.Command {
	var o daemonFlags
	var life life
	cmd := &cobra.Command{
		Use:   "mount [flags] DIR [SOURCE…]",
		Short: "mount torrents on DIR",
		Long:  mountLong,
		Example: `  weir mount ~/t debian.torrent
  weir mount ~/t 'magnet:?xt=urn:btih:…' https://example.org/x.torrent
  weir mount --cache /big/weir --cache-size 100GiB ~/t *.torrent
  weir mount --peer 192.0.2.7:6881 ~/t 0123456789abcdef0123456789abcdef01234567`,
		ValidArgsFunction: completeMount,
		RunE: func(cmd *cobra.Command, args []string) error {
			// Whose process it is to be comes first: the settings are read as that user.
			if err := life.become(); err != nil {
				return err
			}
			args, err := settle(cmd, args, &life)
			if err != nil {
				return err
			}
			o.Mountpoint, o.Sources = args[0], args[1:]
			o.ListedAs = life.helper.fsname
			if o.Mountpoint, err = filepath.Abs(o.Mountpoint); err != nil {
				return err
			}
			if err := o.complete(cmd); err != nil {
				return err
			}
			if life.detach && life.readyFD == 0 {
				return life.start(cmd, args)
			}
			if !o.noControl {
				if o.Control, err = control.SocketPath(o.Mountpoint, o.CacheDir); err != nil {
					return err
				}
			}
			return mount(cmd.Context(), o.Options, life, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.register(cmd)
	f.Uint32Var(&o.UID, "uid", uint32(os.Getuid()), "show files as owned by this user `ID`")
	f.Uint32Var(&o.GID, "gid", uint32(os.Getgid()), "show files as owned by this group `ID`")
	f.BoolVar(&o.AllowOther, "allow-other", false, "let other users read the mount; unless you are root, this needs user_allow_other in /etc/fuse.conf")
	f.BoolVar(&o.AllowNonEmpty, "nonempty", false, "mount on a folder that is not empty; its content is hidden while weir is mounted")
	o.registerHTTP(f, "")
	o.registerLog(cmd)
	life.register(f)
	return cmd
}

// cacheDir returns dir, or the default when it is empty.
func cacheDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil && os.Geteuid() == 0 { // at boot there is no HOME
		return "/var/cache/weir/default", nil
	}
	if err != nil {
		return "", fmt.Errorf("no place for the cache: name one with --cache DIR: %w", err)
	}
	return filepath.Join(base, "weir"), nil
}

// mount serves until ctx ends or somebody unmounts.
func mount(ctx context.Context, o daemon.Options, life life, stdout io.Writer) (err error) {
	attended := life.attend(ctx, o.Mountpoint, o.Log)
	defer func() { attended.end(err) }()
	o.Unmounter = life.unmounter(attended, o.Mountpoint)
	d := daemon.New(o)
	if err := d.Open(ctx); err != nil {
		return errors.Join(err, d.Close())
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, stopSignals...)
	defer signal.Stop(again)
	life.restrict(attended, o, d.Served())
	attended.ready(d.Names())
	fmt.Fprintf(stdout, "mounted on %s, Ctrl-C unmounts:\n", weir.Printable(o.Mountpoint))
	printShown(stdout, d)
	if url := d.URL(); url != "" {
		fmt.Fprintf(stdout, "HTTP at %s\n", url)
	}
	select {
	case <-d.Done():
	case <-ctx.Done():
	}
	attended.notifier.Stopping()
	notice := func() {
		o.Log.Info("unmounting; a second signal ends weir at once", "mountpoint", o.Mountpoint)
	}
	return leave(ctx, d, again, notice, func() error {
		force := func() error { return mountpoint.Unmount(context.WithoutCancel(ctx), o.Mountpoint, true) }
		if o.Unmounter != nil {
			force = func() error { return o.Unmounter.Unmount(true) }
		}
		if err := force(); err != nil && !errors.Is(err, weir.ErrNotFound) {
			return fmt.Errorf("ended by a second signal, and the mount could not be removed: %w", err)
		}
		return nil
	})
}

// printShown lists the torrents that the command line named, and counts the others.
func printShown(stdout io.Writer, d *daemon.Daemon) {
	for _, name := range d.Names() {
		fmt.Fprintf(stdout, "  %s\n", weir.Printable(name))
	}
	if more := d.Count() - len(d.Names()); more > 0 {
		fmt.Fprintf(stdout, "  and %d added before\n", more)
	}
}

// echo is how long after the first signal another one is taken for the same: who
// sends one to a process and to its group, as timeout(1) does, sends weir two.
const echo = 200 * time.Millisecond

// leave ends a daemon cleanly: what was verified is stored before it returns. The first
// signal asks for just that, also when somebody unmounted before; notice is called then. The
// next one ends it at once, by force.
func leave(ctx context.Context, d *daemon.Daemon, again <-chan os.Signal, notice func(), force func() error) error {
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(echo):
	}
	select {
	case <-again: // the first, or its echo
	default:
	}
	notice()
	select {
	case err := <-closed:
		return err
	case <-again:
		// What is not stored yet is lost, and only that: the cache survives a crash.
		if err := force(); err != nil {
			return err
		}
		return errors.New("ended by a second signal; what was not stored yet is fetched again when it is next read")
	}
}
