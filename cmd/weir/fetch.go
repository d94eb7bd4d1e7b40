package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// fetchLines is how often fetch says how far it is where the output is no terminal.
const fetchLines = 5 * time.Second

func newFetch() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fetch [flags] PATH…",
		Short: "download files into the cache now",
		Long: `fetch downloads the missing pieces of files or folders into the cache, and
returns when all of them are there. Reads have priority. Ctrl-C stops it; what
has arrived stays until the cache needs the space (weir pin keeps it). If a
torrent's magnet selects files (so=), only those are fetched, unless you name
others.

` + exitCodes,
		Example: `  weir fetch ~/t/dataset/part-0007.csv
  weir fetch ~/t/film && weir pin ~/t/film`,
		Args: usage(cobra.MinimumNArgs(1), "at least one path"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPlace(cmd.Context(), args, func(l *live) error {
				return fetch(cmd.Context(), l, screenOf(cmd.OutOrStdout()), asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line, as docs/api.md describes it")
	return cmd
}

func fetch(ctx context.Context, l *live, out screen, asJSON bool) error {
	name := l.full(l.Path)
	var show func(api.Progress)
	end := func(bool) {}
	switch {
	case asJSON:
		show = func(p api.Progress) { _ = printJSONLine(out, p) } // a closed pipe ends us by its signal
	case out.fd >= 0:
		show, end = barProgress(out, out.width, path.Base(name))
	default:
		show, end = lineProgress(out, name)
	}
	err := l.Fetch(ctx, l.Path, show)
	end(err == nil)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return nil
}

// lineProgress prints a line now and then.
func lineProgress(w io.Writer, name string) (show func(api.Progress), end func(all bool)) {
	var told time.Time
	var last api.Progress
	show = func(p api.Progress) {
		last = p
		if time.Since(told) < fetchLines || p.HaveBytes == p.TotalBytes && p.TotalBytes > 0 {
			return
		}
		told = time.Now()
		fmt.Fprintf(w, "%s: %s of %s (%s), %s", weir.Printable(name), sizeText(p.HaveBytes), sizeText(p.TotalBytes), shareText(p.HaveBytes, p.TotalBytes), rateText(p.Rate))
		if p.Rate > 0 {
			fmt.Fprintf(w, ", %s left", timeLeft(p))
		}
		if p.Wait != "" {
			fmt.Fprintf(w, ": %s", weir.Printable(p.Wait))
		}
		fmt.Fprintln(w)
	}
	end = func(all bool) {
		if all {
			fmt.Fprintf(w, "%s: all %s are cached\n", weir.Printable(name), sizeText(last.TotalBytes))
		}
	}
	return show, end
}
