package main

import (
	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/demo"
)

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "show weir at work, on this machine alone",
		Long: `demo makes a small torrent, runs three seeders for it in this process, mounts
it by magnet on a temporary folder, reads parts of it, and prints what was
fetched and how long it took. It needs no network and leaves nothing behind.

` + exitCodes,
		Example: "  weir demo",
		Args:    usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Run(cmd.Context(), demo.Options{Out: cmd.OutOrStdout(), Version: weirVersion()})
		},
	}
}
