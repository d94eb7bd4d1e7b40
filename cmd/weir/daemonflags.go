package main

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/reader"
)

// daemonFlags are the flags of the commands that run a daemon: its options, and what these are
// made of.
type daemonFlags struct {
	daemon.Options
	cacheBytes, uploadLimit, downloadLimit byteSize
	maxMetadata                            metadataSize
	quiet                                  string
	noControl                              bool
	level                                  slog.Level
	verbose                                bool
}

// register adds the flags about torrents, peers and the cache.
func (o *daemonFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	o.Version, o.maxMetadata = weirVersion(), engine.DefaultMaxMetadata
	f.StringVar(&o.CacheDir, "cache", "", "keep verified pieces in `DIR` (default $XDG_CACHE_HOME/weir or ~/.cache/weir)")
	f.Var(&o.cacheBytes, "cache-size", "limit the cache to `SIZE`, such as 20GiB (default 10GiB, or half of the free disk space if that is less)")
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
	f.Var(&o.uploadLimit, "upload-limit", "upload at most `SIZE` per second, such as 500KB or 2MiB (default no limit)")
	f.Var(&o.downloadLimit, "download-limit", "download at most `SIZE` per second (default no limit)")
	o.Sharing.Seed = sharing.SeedAll
	f.Var((*seedMode)(&o.Sharing.Seed), "seed", "announce `WHICH` torrents, and give them to whoever asks, while no program here reads them: all (that are cached in part or whole), pinned or none")
	f.Var((*ratio)(&o.Sharing.Ratio), "ratio", "with --seed: until a torrent has given `N` times what was fetched, such as 1.5 (default no end)")
	f.Var((*seedTime)(&o.Sharing.Time), "seed-time", "with --seed: until a complete torrent was given for `TIME`, such as 72h (default no end)")
	f.Var(&o.maxMetadata, "max-metadata", "accept metadata of magnets up to `SIZE`, at most 256MiB")
	f.StringVar(&o.quiet, "quiet-readers", "", "refuse files to these `PROGRAMS` (name,name:head,…); with :head they may read the first and last 8 MiB of each file")
	completeValues(cmd, "encryption", "allowed", "required", "off")
	completeValues(cmd, "seed", sharing.SeedAll, sharing.SeedPinned, sharing.SeedNone)
}

// registerHTTP adds the flags about HTTP.
func (o *daemonFlags) registerHTTP(f *pflag.FlagSet, addr string) {
	o.HTTP.Addr = addr
	none := ""
	if addr == "" {
		none = " (default none)"
	}
	f.Var((*listenAddress)(&o.HTTP.Addr), "http", "show the torrents over HTTP and WebDAV at `HOST:PORT`, such as 127.0.0.1:8480"+none)
	f.StringArrayVar(&o.HTTP.Names, "http-name", nil, "also answer to requests for the host `NAME`, such as that of a proxy in front; may be repeated")
	f.BoolVar(&o.HTTP.AskToken, "http-token", false, "ask for a token on this machine, too; for other machines it is always asked for")
	f.BoolVar(&o.HTTP.Public, "http-read-only-public", false, "let everybody who can reach --http read, without a token")
	f.StringVar(&o.HTTP.Cert, "http-cert", "", "use TLS with the certificate in `FILE` (PEM); needs --http-key")
	f.StringVar(&o.HTTP.Key, "http-key", "", "the key of the certificate, in `FILE` (PEM)")
}

// registerLog adds the flags about how weir is watched.
func (o *daemonFlags) registerLog(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var((*listenAddress)(&o.Metrics), "metrics", "serve metrics for Prometheus over HTTP at `HOST:PORT`, such as 127.0.0.1:9090 (default none)")
	f.BoolVar(&o.Pprof, "pprof", false, "with --metrics, also serve Go's profiles under /debug/pprof/")
	f.BoolVar(&o.noControl, "no-control", false, "make no control socket; weir add, ls, status and other commands won't work")
	f.Var((*logLevel)(&o.level), "log-level", "log messages of `LEVEL` and above: debug, info, warn or error")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "the same as --log-level debug")
	completeValues(cmd, "log-level", "debug", "info", "warn", "error")
}

// complete makes the options of the flags, once the settings are read.
func (o *daemonFlags) complete(cmd *cobra.Command) (err error) {
	if o.verbose {
		o.level = slog.LevelDebug
	}
	for _, paths := range [][]string{o.Watch, o.ServeFrom} { // in the background the working folder becomes another
		for i := range paths {
			if paths[i], err = filepath.Abs(paths[i]); err != nil {
				return err
			}
		}
	}
	o.CacheBytes, o.MaxMetadata = int64(o.cacheBytes), int64(o.maxMetadata)
	o.UploadLimit, o.DownloadLimit = int64(o.uploadLimit), int64(o.downloadLimit)
	o.Log = newLog(cmd.ErrOrStderr(), o.level)
	if o.CacheDir, err = cacheDir(o.CacheDir); err != nil {
		return err
	}
	if o.Restricted, err = reader.ParseRestricted(o.quiet); err != nil {
		return usageError{err, cmd.CommandPath()}
	}
	if err := o.HTTP.Check(); err != nil {
		return usageError{err, cmd.CommandPath()}
	}
	return nil
}
