package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func newLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [flags] [DIR]",
		Short: "list the torrents of a mount",
		Long: `ls lists the torrents below DIR, a folder of a mount (by default the working
folder), or the torrent that DIR is in: name, size, how much of it is cached,
peers, rates and state.

States:
  cold      not in use
  metadata  a magnet that is waiting for its metadata
  idle      connected, nothing to fetch
  fetching  pieces are wanted, no read is waiting
  reading   reads are waiting, and blocks arrive
  stuck     something is wanted, and nothing arrives: weir status shows why
  refused   a magnet whose metadata can't be used: weir status shows why
  complete  all of it is cached

GIVEN and RATIO are what was uploaded in all runs, and how much that is of what
was downloaded, or is cached if that is more. They are shown once there are any.

` + exitCodes,
		Example: `  weir ls ~/t
  weir ls --json ~/t/linux`,
		Args: usage(cobra.MaximumNArgs(1), "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := connect(cmd.Context(), append(args, ".")[0])
			if err != nil {
				return err
			}
			defer l.Close()
			all, err := l.Torrents(cmd.Context())
			if err != nil {
				return err
			}
			list := []api.Torrent{}
			for _, t := range all {
				// Inside of a torrent it is that one.
				if l.Path == "" || strings.HasPrefix(t.Path+"/", l.Path+"/") || strings.HasPrefix(l.Path+"/", t.Path+"/") {
					list = append(list, t)
				}
			}
			if len(list) == 0 && l.Path != "" {
				if _, err := os.Lstat(l.full(l.Path)); err != nil {
					return weir.Errorf(weir.ErrNotFound, "nothing in the mount is called %q", l.Path)
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printTorrents(cmd.OutOrStdout(), list, 0)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// printTorrents prints a table; names are cut to width characters, 0: not at all.
func printTorrents(w io.Writer, list []api.Torrent, width int) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	heading, byWeb := "PEERS", slices.ContainsFunc(list, func(t api.Torrent) bool { return t.ActiveWebSeeds > 0 })
	if byWeb {
		heading += "\tWEB"
	}
	heading += "\tDOWN\tUP"
	given := slices.ContainsFunc(list, func(t api.Torrent) bool { return t.Uploaded > 0 })
	if given {
		heading += "\tGIVEN\tRATIO"
	}
	fmt.Fprintf(tw, "NAME\tSIZE\tHAVE\t%s\tSTATE\n", heading)
	for _, t := range list {
		size := "?"
		if t.SizeBytes > 0 || t.State == api.StateComplete {
			size = sizeText(t.SizeBytes)
		}
		state := string(t.State)
		switch {
		case t.PinPending:
			state += ", to be pinned"
		case t.PinnedBytes > 0 && t.PinnedBytes >= t.SizeBytes:
			state += ", pinned"
		case t.PinnedBytes > 0:
			state += ", partly pinned"
		}
		peers := strconv.Itoa(t.Peers)
		if byWeb {
			peers += "\t" + strconv.Itoa(t.ActiveWebSeeds)
		}
		columns := peers + "\t" + rateText(t.DownloadRate) + "\t" + rateText(t.UploadRate)
		if given {
			columns += fmt.Sprintf("\t%s\t%.2f", sizeText(t.Uploaded), t.Ratio)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", cut(weir.Printable(t.Path), width), size, shareText(t.HaveBytes, t.SizeBytes),
			columns, state)
	}
	return tw.Flush()
}

// cut shortens text to n characters, 0: not at all.
func cut(s string, n int) string {
	if r := []rune(s); n > 0 && len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
