package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func newPin() *cobra.Command {
	return keepCommand(keeping{
		use: "pin", short: "keep files for good, and fetch what is missing",
		long: `pin keeps files or folders of a mount in the cache until weir unpin: they are
never evicted, and what is missing is fetched whenever nothing else is, also
after a restart. A torrent that is pinned as a whole and complete works offline.
It is refused when four fifths of the cache can't hold all that is pinned. Of a
torrent whose magnet selects files (so=), those are pinned, unless others are named. A
magnet whose metadata is not here yet is pinned when it comes: weir status tells.`,
		example: `  weir pin ~/t/debian-12.iso
  weir pin ~/t/film/film.mkv && weir fetch ~/t/film/film.mkv`,
		do: (*api.Client).Pin, done: "%s: %s more are kept\n",
	})
}

func newUnpin() *cobra.Command {
	return keepCommand(keeping{
		use: "unpin", short: "undo pin",
		long: `unpin lets files or folders of a mount leave the cache like any others when
there is need of room. They stay until then: weir evict drops them now.`,
		example: `  weir unpin ~/t/film/film.mkv`,
		do:      (*api.Client).Unpin, done: "%s: %s are kept no longer\n",
	})
}

// keeping is what pin, unpin and evict have of their own.
type keeping struct {
	use, short, long, example string
	do                        func(c *api.Client, ctx context.Context, path string) (api.Kept, error)
	done                      string // a format: the path, the bytes
}

func keepCommand(k keeping) *cobra.Command {
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
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s kept when the metadata has come\n", name, pendingText(kept.Pending))
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
		return "1 torrent is"
	}
	return fmt.Sprintf("%d torrents are", torrents)
}
