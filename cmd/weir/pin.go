package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func newPin() *cobra.Command {
	return newPinCommand(pinCommand{
		use: "pin", short: "keep files in the cache, and fetch what is missing",
		long: `pin keeps files or folders in the cache until weir unpin: they are never
evicted. Missing pieces are fetched in the background, also after a restart. A
torrent that is pinned and complete can be read offline. Pinned files may use
four fifths of the cache; pin fails if they would need more. If a torrent's
magnet selects files (so=), only those are pinned, unless you name others. If a
magnet has no metadata yet, it is pinned when the metadata arrives.`,
		example: `  weir pin ~/t/debian-12.iso
  weir pin ~/t/film/film.mkv && weir fetch ~/t/film/film.mkv`,
		do: (*api.Client).Pin, done: "%s: pinned %s\n",
	})
}

func newUnpin() *cobra.Command {
	return newPinCommand(pinCommand{
		use: "unpin", short: "undo pin",
		long: `unpin lets the cache evict files or folders again when it needs space. To drop
them now, use weir evict.`,
		example: `  weir unpin ~/t/film/film.mkv`,
		do:      (*api.Client).Unpin, done: "%s: unpinned %s\n",
	})
}

// pinCommand is what differs between pin, unpin and evict.
type pinCommand struct {
	use, short, long, example string
	do                        func(c *api.Client, ctx context.Context, path string) (api.Kept, error)
	done                      string // a format: the path, the bytes
}

func newPinCommand(k pinCommand) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     k.use + " [flags] PATH…",
		Short:   k.short,
		Long:    k.long + "\n\n" + exitCodes,
		Example: k.example,
		Args:    usage(cobra.MinimumNArgs(1), "at least one path"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPlace(cmd.Context(), args, func(l *live) error {
				kept, err := k.do(l.Client, cmd.Context(), l.Path)
				if err != nil {
					return fmt.Errorf("%s %s: %w", k.use, l.full(l.Path), err)
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), kept)
				}
				name := weir.Printable(l.full(l.Path))
				if kept.Pending > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s pinned when the metadata arrives\n", name, pendingText(kept.Pending))
				}
				if kept.Bytes > 0 || kept.Pending == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), k.done, name, sizeText(kept.Bytes))
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func pendingText(torrents int) string {
	if torrents == 1 {
		return "1 torrent will be"
	}
	return fmt.Sprintf("%d torrents will be", torrents)
}
