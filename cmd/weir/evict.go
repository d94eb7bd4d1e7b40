package main

import (
	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
)

func newEvict() *cobra.Command {
	return keepCommand(keeping{
		use: "evict", short: "drop files from the cache",
		long: `evict drops what is held of files or folders of a mount, but for what is pinned,
and gives the space on the disk back. The files stay in the mount: reading them
fetches them again. A piece that also holds bytes of a neighbouring file goes
with it.`,
		example: `  weir evict ~/t/film/film.mkv`,
		do:      (*api.Client).Evict, done: "%s: dropped %s\n",
	})
}
