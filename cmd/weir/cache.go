package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/config"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/daemon"
)

const cacheLong = `cache inspects, checks, empties and resizes the folder that holds the verified
pieces, whether or not a mount is using it. Without --cache it is the folder
that weir mount would use: the one in the settings, or ~/.cache/weir.

` + exitCodes

// cacheFolder is the flags that all of weir cache share.
type cacheFolder struct {
	cmd    *cobra.Command // mount, whose settings say which folder
	asJSON bool
}

// openedCache is a cache that can be asked: through the mount that has it, or
// opened here.
type openedCache interface {
	CacheStat(ctx context.Context) (api.CacheStat, error)
	CacheResize(ctx context.Context, limit int64) (api.CacheStat, error)
	CacheClear(ctx context.Context) (api.CacheCleared, error)
	CacheVerify(ctx context.Context, progress func(api.CacheVerify)) (api.CacheVerify, error)
}

func newCache() *cobra.Command {
	f := &cacheFolder{cmd: newMount()}
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "inspect, check, empty or resize the cache",
		Long:  cacheLong,
		Example: `  weir cache stat
  weir cache verify --cache /big/weir
  weir cache resize 100GiB`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{unknownCommand(cmd, args[0]), cmd.CommandPath()}
			}
			return cmd.Help()
		},
	}
	for _, name := range []string{"cache", config.FileFlag} {
		cmd.PersistentFlags().AddFlag(f.cmd.Flags().Lookup(name))
	}
	cmd.AddCommand(f.stat(), f.verify(), f.clear(), f.resize())
	return cmd
}

// with calls do with the cache. It is never made: one that is not there is an
// error. here is nil when a mount has it.
func (f *cacheFolder) with(stderr io.Writer, do func(c openedCache, here *cache.Cache) error) error {
	if _, err := settings(f.cmd.Flags(), config.ThisHost()); err != nil {
		return err
	}
	dir, err := cacheDir(f.cmd.Flags().Lookup("cache").Value.String())
	if err != nil {
		return err
	}
	log := newLog(stderr, slog.LevelError)
	c, err := cache.Open(cache.Options{Dir: dir, MustExist: true, Log: log})
	var held *cache.InUseError
	switch {
	case err == nil:
		return errors.Join(do(control.NewCache(c, dir, ""), c), c.Close())
	case errors.Is(err, weir.ErrNotFound):
		return weir.Errorf(weir.ErrNotFound, "no cache in %s: name its folder with --cache DIR", dir)
	case !errors.As(err, &held):
		return err
	case held.Owner.Control == "":
		return fmt.Errorf("%w and can't be asked: try again when it has ended", err)
	}
	client := api.NewClient(held.Owner.Control)
	defer client.Close()
	return do(client, nil)
}

func (f *cacheFolder) stat() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "print what the cache holds",
		Long: `stat prints what the cache holds, how much disk it uses, and its limits. While a
mount uses the cache it also prints hits and misses since the mount began.

` + exitCodes,
		Example: `  weir cache stat
  weir cache stat --json | jq .disk_bytes`,
		Args: usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.ErrOrStderr(), func(c openedCache, _ *cache.Cache) error {
				s, err := c.CacheStat(cmd.Context())
				if err != nil {
					return err
				}
				return f.printStat(cmd.OutOrStdout(), s)
			})
		},
	}
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON, sizes in bytes")
	return cmd
}

func (f *cacheFolder) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "hash every piece in the cache against its torrent",
		Long: `verify reads every piece in the cache and checks its hash. Damaged pieces are
dropped; they are fetched again when they are next read. If a torrent's metadata
is no longer in the cache, its pieces can only be checked against their
checksums. Mounts keep working meanwhile. Ctrl-C stops early.

Exit codes:
  0  every piece that was checked is right
  1  damaged pieces were dropped, or failure (see standard error)
  2  wrong usage`,
		Example: `  weir cache verify
  weir cache verify --json`,
		Args: usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.ErrOrStderr(), func(c openedCache, _ *cache.Cache) error {
				return f.runVerify(cmd, c)
			})
		},
	}
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON, which names each dropped piece")
	return cmd
}

func (f *cacheFolder) clear() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "clear",
		Short: "empty the cache",
		Long: `clear drops every piece, pinned ones too, and frees the disk space. What weir
knows about torrents stays: metadata, peers, and which files are pinned; a mount
fetches pinned files again. --all drops that as well, and the list of torrents
that were mounted; it is refused while a mount is using the cache.

` + exitCodes,
		Example: `  weir cache clear
  weir cache clear --all --cache /big/weir`,
		Args: usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.ErrOrStderr(), func(c openedCache, here *cache.Cache) error {
				if all && here == nil {
					s, err := c.CacheStat(cmd.Context())
					if err != nil {
						return err
					}
					return weir.Errorf(weir.ErrInUse, "a mount uses the cache, and --all would drop what it needs: run weir umount %q first", s.Mountpoint)
				}
				gone, err := c.CacheClear(cmd.Context())
				if err == nil && all {
					err = here.ClearRecords()
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d pieces dropped, %s\n", gone.Pieces, sizeText(gone.Bytes))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also drop what is known about torrents, and the pins")
	return cmd
}

func (f *cacheFolder) resize() *cobra.Command {
	return &cobra.Command{
		Use:   "resize [flags] SIZE",
		Short: "change the size of the cache",
		Long: `resize changes how much disk the cache may use, at once, even while a mount is
using it, and for later mounts that don't set --cache-size. When the cache
shrinks, pieces are dropped before resize returns. The new size must have room
for what is pinned.

` + exitCodes,
		Example: `  weir cache resize 100GiB`,
		Args:    usage(cobra.ExactArgs(1), "one size"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var size byteSize
			if err := size.Set(args[0]); err != nil {
				return usageError{err, cmd.CommandPath()}
			}
			return f.with(cmd.ErrOrStderr(), func(c openedCache, _ *cache.Cache) error {
				s, err := c.CacheResize(cmd.Context(), int64(size))
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "the cache may use %s and uses %s\n", sizeText(s.LimitBytes), sizeText(s.DiskBytes))
				return nil
			})
		},
	}
}

func (f *cacheFolder) printStat(w io.Writer, s api.CacheStat) error {
	if f.asJSON {
		return printJSON(w, s)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("folder", "%s", s.Dir)
	if s.Mountpoint != "" {
		line("used by", "weir %d, mounted at %s", s.PID, s.Mountpoint)
	}
	line("on disk", "%s of %s (%d %%)", sizeText(s.DiskBytes), sizeText(s.LimitBytes), 100*s.DiskBytes/max(s.LimitBytes, 1))
	line("disk free", "%s, %s of it reserved (--min-free)", sizeText(s.FreeBytes), sizeText(s.MinFree))
	line("pieces", "%d of %d torrents, %s", s.Pieces, s.Torrents, sizeText(s.Bytes))
	if s.Shared > 0 {
		line("shared", "%d pieces of several torrents are stored once: %s", s.Shared, sizeText(s.SharedBytes))
	}
	line("pinned", "%s", sizeText(s.PinnedBytes))
	if s.Mountpoint != "" {
		line("reads", "%d hits, %d misses", s.Hits, s.Misses)
		line("evicted", "%d pieces", s.Evictions)
		line("damaged", "%d pieces", s.Damaged)
	}
	return t.Flush()
}

func (f *cacheFolder) runVerify(cmd *cobra.Command, c openedCache) error {
	quiet := f.asJSON
	stderr := cmd.ErrOrStderr()
	told := false
	last, err := c.CacheVerify(cmd.Context(), func(p api.CacheVerify) {
		if !quiet && !p.Done {
			told = true
			fmt.Fprintf(stderr, "\r%d of %d pieces, %s, %d damaged ", p.Pieces, p.Total, sizeText(p.Bytes), p.Damaged)
		}
	})
	if told {
		fmt.Fprintln(stderr)
	}
	if f.asJSON {
		if perr := printJSON(cmd.OutOrStdout(), last); perr != nil {
			return perr
		}
	} else {
		out := cmd.OutOrStdout()
		for _, p := range last.Dropped {
			fmt.Fprintf(out, "damaged, dropped: piece %d of %s\n", p.Piece, p.InfoHash)
		}
		right := last.Pieces - last.Unchecked - last.Damaged
		fmt.Fprintf(out, "%d pieces, %s: %d right, %d damaged, %d checked by checksum alone, without metadata\n",
			last.Pieces, sizeText(last.Bytes), right, last.Damaged, last.Unchecked)
	}
	switch {
	case err != nil && cmd.Context().Err() != nil:
		return errors.New("stopped early")
	case err != nil:
		return err
	case last.Damaged > 0:
		return fmt.Errorf("%d pieces were damaged and dropped; they are fetched again when they are next read", last.Damaged)
	}
	return nil
}

// minFree is a flag for how much of a disk stays free: a share, a size, or 0.
type minFree daemon.MinFree

func (m *minFree) String() string {
	switch {
	case m.Percent > 0:
		return strconv.FormatFloat(m.Percent, 'g', -1, 64) + "%"
	case m.Bytes > 0:
		return humanize.IBytes(uint64(m.Bytes))
	case m.Bytes < 0:
		return "0"
	}
	return ""
}

func (m *minFree) Set(s string) error {
	wrong := fmt.Errorf("want a share such as 5%% or a size such as 20GiB, got %q", s)
	if share, ok := strings.CutSuffix(s, "%"); ok {
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return wrong
		}
		*m = minFree{Percent: percent}
		if percent == 0 {
			*m = minFree{Bytes: -1}
		}
		return nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return wrong
	}
	*m = minFree{Bytes: int64(n)}
	if n == 0 {
		*m = minFree{Bytes: -1} // to the cache 0 is its default
	}
	return nil
}

func (m *minFree) Type() string { return "SPACE" }
