package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		Long: `add adds torrents to the mount at DIR, which may be any folder in it, and
prints their paths. They are still there after a restart, unless the mount is
--ephemeral. For what a SOURCE can be, see weir mount --help.

Copying a .torrent file into the mount does the same:
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
			shown := func(added api.Added) {
				all = append(all, added)
				if asJSON {
					return
				}
				fmt.Fprintln(cmd.OutOrStdout(), weir.Printable(l.full(added.Path)))
				if added.Known {
					fmt.Fprintf(cmd.ErrOrStderr(), "weir: %s: this torrent is in the mount already\n", weir.Printable(l.full(added.Path)))
				}
			}
			for _, arg := range args[1:] {
				if err := addSource(cmd.Context(), l, arg, path.Join(l.Path, into), shown); err != nil {
					errs = append(errs, fmt.Errorf("add %.200s: %w", arg, err))
				}
			}
			if asJSON {
				errs = append(errs, printJSON(cmd.OutOrStdout(), all))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "put them into this `FOLDER` of DIR, such as linux/debian; it is created if missing")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// addSource adds what one argument names, and calls shown with each torrent. A file
// is read here: the mount may serve from another working folder.
func addSource(ctx context.Context, l *live, arg, into string, shown func(api.Added)) error {
	one := func(added api.Added, err error) error {
		if err == nil {
			shown(added)
		}
		return err
	}
	content, err := source.ReadFile(arg, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
		if !maySource(arg) {
			return weir.Errorf(weir.ErrNotFound, "no such file, and neither a magnet, a URL nor an info hash: check the path")
		}
		return one(l.Add(ctx, arg, into))
	case err != nil:
		return err
	}
	lines, ok := source.Lines(content)
	if !ok || len(lines) < 2 {
		return one(l.AddFile(ctx, content, into))
	}
	var errs []error
	for _, line := range lines {
		errs = append(errs, one(l.AddFile(ctx, []byte(line), into)))
	}
	return errors.Join(errs...)
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
