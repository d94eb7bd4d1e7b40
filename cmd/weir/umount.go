package main

import (
	"github.com/spf13/cobra"

	"github.com/weirfs/weir/fs"
)

func newUmount() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "unmount what weir mounted on DIR",
		Long: `umount takes weir's mount at DIR away; the weir that serves it ends by itself.
It also removes what a crashed weir left behind. While programs use the mount it
says which, and leaves it alone.

` + exitCodes,
		Example: `  weir umount ~/t
  weir umount --lazy ~/t    # gone from the tree now, ended with its last user`,
		Args: usage(cobra.ExactArgs(1), "one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			return fs.Unmount(args[0], lazy)
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "z", false, "unmount even while programs use it; what they hold open they may finish")
	return cmd
}
