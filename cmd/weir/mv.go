package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
)

func newMv() *cobra.Command {
	return &cobra.Command{
		Use:   "mv [flags] FROM TO",
		Short: "rename torrents, or move them into folders",
		Long: `mv moves or renames a torrent's folder, or a folder of torrents, within its
mount. If TO is a folder of torrents or ends in a slash, FROM is moved into it.
Missing folders are created. Files that programs have open stay open. Nothing
inside a torrent can be moved. mv(1) does the same.

` + exitCodes,
		Example: `  weir mv ~/t/debian-12.iso ~/t/linux/debian/
  weir mv ~/t/0123456789abcdef0123456789abcdef01234567 ~/t/film`,
		Args: usage(cobra.ExactArgs(2), "two paths"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := connect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer from.Close()
			to, err := connect(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			defer to.Close()
			if from.Root != to.Root {
				return weir.Errorf(weir.ErrInvalid, "%s and %s are different mounts: add the torrent there with weir add, and remove it here with weir rm", from.Root, to.Root)
			}
			target := to.Path
			if strings.HasSuffix(args[1], "/") {
				target = path.Join(target, path.Base(from.Path))
			}
			at, err := from.Move(cmd.Context(), from.Path, target)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), weir.Printable(from.full(at)))
			return err
		},
	}
}
