package main

import (
	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
)

func newEvict() *cobra.Command {
	return newPinCommand(pinCommand{
		use: "evict", short: "drop files from the cache",
		long: `evict drops the cached pieces of files or folders, except pinned ones, and
frees their disk space. The files stay in the mount: reading them fetches them
again. A piece shared with a neighbouring file is dropped too.`,
		example: `  weir evict ~/t/film/film.mkv`,
		do:      (*api.Client).Evict, done: "%s: dropped %s\n",
	})
}
