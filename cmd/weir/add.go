package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/source"
)

func newAdd() *cobra.Command {
	var into string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add [flags] DIR SOURCE…",
		Short: "add torrents to a mount that is in use",
		Long: `add shows more torrents in the mount at DIR, which may be any folder in it, and
prints where they are. They are there at once, and after a restart too, unless
the mount is --ephemeral. What a SOURCE is: weir mount --help.

Copying a .torrent, or a text with magnets, into the mount does the same:
  cp debian.torrent ~/t/

` + exitCodes,
		Example: `  weir add ~/t debian.torrent 'magnet:?xt=urn:btih:…'
  weir add --into linux/debian ~/t https://example.org/x.torrent`,
		Args: usage(cobra.MinimumNArgs(2), "a folder and at least one source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := connect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer l.Close()
			var all []api.Added
			var errs []error
			for _, arg := range args[1:] {
				added, err := addOne(cmd.Context(), l, arg, path.Join(l.Path, into))
				if err != nil {
					errs = append(errs, fmt.Errorf("add %.200s: %w", arg, err))
					continue
				}
				all = append(all, added)
				if asJSON {
					continue
				}
				fmt.Fprintln(cmd.OutOrStdout(), weir.Printable(l.full(added.Path)))
				if added.Known {
					fmt.Fprintf(cmd.ErrOrStderr(), "weir: %s was there before\n", weir.Printable(l.full(added.Path)))
				}
			}
			if asJSON {
				errs = append(errs, printJSON(cmd.OutOrStdout(), all))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "sort them into this `FOLDER` of DIR, such as linux/debian; it is made if need be")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// addOne adds what one argument names. A file is read here: the mount may serve
// from another working folder.
func addOne(ctx context.Context, l *live, arg, into string) (api.Added, error) {
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
		if !maySource(arg) {
			return api.Added{}, fmt.Errorf("no such file, and neither a magnet, a URL nor an info hash: check the path: %w", weir.ErrNotFound)
		}
		return l.Add(ctx, arg, into)
	case err != nil:
		return api.Added{}, err
	case !info.Mode().IsRegular():
		return api.Added{}, fmt.Errorf("%s is not a file: name the .torrent itself: %w", arg, weir.ErrInvalid)
	case info.Size() > source.MaxMetainfoBytes:
		return api.Added{}, fmt.Errorf("%s has %d bytes, more than any .torrent: %w", arg, info.Size(), weir.ErrInvalid)
	}
	content, err := os.ReadFile(arg)
	if err != nil {
		return api.Added{}, err
	}
	return l.AddFile(ctx, content, into)
}

// maySource reports whether an argument that names no file may be a source all the
// same: a magnet, a URL, or an info hash by its length.
func maySource(arg string) bool {
	scheme, _, ok := strings.Cut(arg, ":")
	switch n := len(strings.TrimSpace(arg)); {
	case ok:
		return slices.Contains([]string{"magnet", "http", "https"}, strings.ToLower(strings.TrimSpace(scheme)))
	default:
		return n == 32 || n == 40 || n == 64
	}
}
