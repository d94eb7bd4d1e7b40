package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs/mountpoint"
	"github.com/weirfs/weir/reader"
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
	o := daemon.Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Version: weirVersion()}
	var cacheBytes, uploadLimit, downloadLimit byteSize
	maxMetadata := metadataSize(engine.DefaultMaxMetadata)
	var level slog.Level
	var verbose, noControl bool
	var quiet string
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
			if verbose {
				level = slog.LevelDebug
			}
			o.Mountpoint, o.Sources, o.CacheBytes = args[0], args[1:], int64(cacheBytes)
			o.ListedAs = life.helper.fsname
			if o.Mountpoint, err = filepath.Abs(o.Mountpoint); err != nil {
				return err
			}
			for _, paths := range [][]string{o.Watch, o.ServeFrom} { // in the background the working folder becomes another
				for i := range paths {
					if paths[i], err = filepath.Abs(paths[i]); err != nil {
						return err
					}
				}
			}
			o.UploadLimit, o.DownloadLimit, o.MaxMetadata = int64(uploadLimit), int64(downloadLimit), int64(maxMetadata)
			o.Log = newLog(cmd.ErrOrStderr(), level)
			if o.CacheDir, err = cacheDir(o.CacheDir); err != nil {
				return err
			}
			if o.Restricted, err = reader.ParseRestricted(quiet); err != nil {
				return usageError{err, cmd.CommandPath()}
			}
			if life.detach && life.readyFD == 0 {
				return life.start(cmd, args)
			}
			if !noControl {
				if o.Control, err = control.SocketPath(o.Mountpoint, o.CacheDir); err != nil {
					return err
				}
			}
			return mount(cmd.Context(), o, life, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.CacheDir, "cache", "", "keep verified pieces in `DIR` (default $XDG_CACHE_HOME/weir or ~/.cache/weir)")
	f.Var(&cacheBytes, "cache-size", "limit the cache to `SIZE`, such as 20GiB (default 10GiB, or half of the free disk space if that is less)")
	f.Var((*minFree)(&o.MinFree), "min-free", "keep `SPACE` of the cache's disk free, such as 5% or 20GiB; 0 keeps only the 128 MiB that opening the cache needs (default 5%)")
	f.BoolVar(&o.Ephemeral, "ephemeral", false, "show only the sources given now, and forget them at the end")
	f.BoolVar(&o.ByHash, "by-hash", false, "let programs open any torrent as DIR/by-hash/INFOHASH")
	f.StringArrayVar(&o.Watch, "watch", nil, "add the torrents of the .torrent, .magnet, .url and .desktop files in `FOLDER`, now and whenever a file appears; may be repeated")
	f.StringArrayVar(&o.ServeFrom, "serve-from", nil, "let weir publish --mount and weir seed --mount serve the files in `FOLDER`, which the sandbox else keeps from weir; may be repeated")
	o.ReadTimeout = time.Minute
	f.Var((*waitTime)(&o.ReadTimeout), "read-timeout", "fail a read with ETIMEDOUT when its bytes have not arrived within `TIME`, such as 30s or 5m")
	f.Var((*peerList)(&o.Peers), "peer", "also connect to the peer at `HOST:PORT`, for every source; may be repeated")
	o.Listen = ":0"
	f.Var((*peerListenAddress)(&o.Listen), "listen", "accept connections from peers at `HOST:PORT`; port 0 is any free port; choose one if your router forwards it")
	f.BoolVar(&o.DHT, "dht", true, "find peers of public torrents in the DHT")
	f.BoolVar(&o.LSD, "lsd", true, "find peers of public torrents in the local network, by multicast")
	f.BoolVar(&o.WebSeeds, "webseeds", true, "also fetch from the web servers that torrents name (web seeds)")
	f.BoolVar(&o.AllowPrivate, "allow-private", false, "also contact addresses of this machine and its network that torrents, magnets, trackers or web servers name; without it, only trackers at /announce")
	f.Var((*encryption)(&o.Encryption), "encryption", "encrypt connections `WHEN`: allowed (if the peer wants it), required (always) or off (never)")
	f.Var(&uploadLimit, "upload-limit", "upload at most `SIZE` per second, such as 500KB or 2MiB (default no limit)")
	f.Var(&downloadLimit, "download-limit", "download at most `SIZE` per second (default no limit)")
	f.Var(&maxMetadata, "max-metadata", "accept metadata of magnets up to `SIZE`, at most 256MiB")
	f.Uint32Var(&o.UID, "uid", o.UID, "show files as owned by this user `ID`")
	f.Uint32Var(&o.GID, "gid", o.GID, "show files as owned by this group `ID`")
	f.BoolVar(&o.AllowOther, "allow-other", false, "let other users read the mount; unless you are root, this needs user_allow_other in /etc/fuse.conf")
	f.BoolVar(&o.AllowNonEmpty, "nonempty", false, "mount on a folder that is not empty; its content is hidden while weir is mounted")
	f.StringVar(&quiet, "quiet-readers", "", "refuse files to these `PROGRAMS` (name,name:head,…); with :head they may read the first and last 8 MiB of each file")
	f.Var((*listenAddress)(&o.Metrics), "metrics", "serve metrics for Prometheus over HTTP at `HOST:PORT`, such as 127.0.0.1:9090 (default none)")
	f.BoolVar(&o.Pprof, "pprof", false, "with --metrics, also serve Go's profiles under /debug/pprof/")
	f.BoolVar(&noControl, "no-control", false, "make no control socket; weir add, ls, status and other commands won't work")
	f.Var((*logLevel)(&level), "log-level", "log messages of `LEVEL` and above: debug, info, warn or error")
	f.BoolVarP(&verbose, "verbose", "v", false, "the same as --log-level debug")
	life.register(f)
	completeValues(cmd, "encryption", "allowed", "required", "off")
	completeValues(cmd, "log-level", "debug", "info", "warn", "error")
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
	for _, name := range d.Names() {
		fmt.Fprintf(stdout, "  %s\n", weir.Printable(name))
	}
	if more := d.Count() - len(d.Names()); more > 0 {
		fmt.Fprintf(stdout, "  and %d added before\n", more)
	}
	select {
	case <-d.Done():
	case <-ctx.Done():
	}
	attended.notifier.Stopping()
	return leave(ctx, d, o, again)
}

// echo is how long after the first signal another one is taken for the same: who
// sends one to a process and to its group, as timeout(1) does, sends weir two.
const echo = 200 * time.Millisecond

// leave ends a mount cleanly: what was verified is stored before it returns. The
// first signal asks for just that, also when somebody unmounted before; the next
// one ends it at once.
func leave(ctx context.Context, d *daemon.Daemon, o daemon.Options, again <-chan os.Signal) error {
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
	o.Log.Info("unmounting; a second signal ends weir at once", "mountpoint", o.Mountpoint)
	select {
	case err := <-closed:
		return err
	case <-again:
		force := func() error { return mountpoint.Unmount(context.WithoutCancel(ctx), o.Mountpoint, true) }
		if o.Unmounter != nil {
			force = func() error { return o.Unmounter.Unmount(true) }
		}
		// What is not stored yet is lost, and only that: the cache survives a crash.
		if err := force(); err != nil && !errors.Is(err, weir.ErrNotFound) {
			return fmt.Errorf("ended by a second signal, and the mount could not be removed: %w", err)
		}
		return errors.New("ended by a second signal; what was not stored yet is fetched again when it is next read")
	}
}
