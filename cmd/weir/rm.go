package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
)

func newRm() *cobra.Command {
	var keepCache bool
	cmd := &cobra.Command{
		Use:   "rm [flags] DIR NAME…",
		Short: "remove torrents from a mount that is in use",
		Long: `rm removes torrents from the mount at DIR, and their pieces from the cache. A
NAME is a torrent's folder in DIR, or its info hash. Programs that have one of
its files open get ESTALE. Instead of DIR and NAME, you can give the path of one
torrent's folder. rmdir or rm -r of that folder does the same.

` + exitCodes,
		Example: `  weir rm ~/t debian-12.iso linux/old
  weir rm ~/t/debian-12.iso
  weir rm --keep-cache ~/t 0123456789abcdef0123456789abcdef01234567`,
		Args: usage(cobra.MinimumNArgs(1), "a folder and at least one torrent's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := connect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer l.Close()
			names := args[1:]
			if len(names) == 0 {
				if l.Path == "" {
					return usageError{fmt.Errorf("want a folder and at least one torrent's name, got %s", argsText(args)), cmd.CommandPath()}
				}
				return l.Remove(cmd.Context(), l.Path, keepCache)
			}
			var errs []error
			for _, name := range names {
				err := l.Remove(cmd.Context(), path.Join(l.Path, strings.Trim(name, "/")), keepCache)
				if _, hashErr := weir.ParseInfoHash(name); errors.Is(err, weir.ErrNotFound) && hashErr == nil {
					err = l.Remove(cmd.Context(), name, keepCache)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&keepCache, "keep-cache", false, "keep the cached pieces, for when the torrent is added again")
	return cmd
}
