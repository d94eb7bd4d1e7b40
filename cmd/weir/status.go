package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
)

func newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [flags] PATH…",
		Short: "say why a read is waiting",
		Long: `status tells of a torrent's folder, or a file or folder in it: what is held, who
has it open, which reads wait and what for, and how its peers and trackers do.
It never waits for the network.

` + exitCodes,
		Example: `  weir status ~/t/film/film.mkv
  weir status --json ~/t/film`,
		Args: usage(cobra.MinimumNArgs(1), "at least one path"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPlace(args, func(l *live) error {
				s, err := l.Status(cmd.Context(), l.Path)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), s)
				}
				return printStatus(cmd.OutOrStdout(), l, s)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printStatus(w io.Writer, l *live, s api.PathStatus) error {
	t := s.Torrent
	fmt.Fprintln(w, printable(l.full(s.Path)))
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("torrent", "%s", t.InfoHash)
	if t.Wait != "" {
		row("state", "%s: %s", t.State, printable(t.Wait))
	} else {
		row("state", "%s", t.State)
	}
	if s.Pieces > 0 {
		row("held", "%s of %s (%s), %d of %d pieces", sizeText(s.HaveBytes), sizeText(s.SizeBytes), shareText(s.HaveBytes, s.SizeBytes), s.Held, s.Pieces)
	}
	if s.Pinned {
		row("pinned", "yes")
	}
	if t.State != api.StateCold {
		row("peers", "%d connected, %d of them with everything, %.2f copies between them", t.Peers, t.Seeds, t.Availability)
		row("rates", "%s down, %s up", rateText(t.DownloadRate), rateText(t.UploadRate))
	}
	for _, line := range s.Trackers {
		row("tracker", "%s", printable(line))
	}
	for _, h := range s.Handles {
		row("open", "%s by %s, for %s", printable(h.Path), printable(programText(h.Program, h.PID)), age(h.Opened))
	}
	for _, wait := range s.Waits {
		row("waits", "%s", waitText(wait))
	}
	if len(s.Waits) == 0 {
		row("waits", "nobody")
	}
	return tw.Flush()
}

// waitText says who waits for what, and why.
func waitText(w api.Wait) string {
	what := "a look into " + printable(w.Path)
	if w.Bytes > 0 {
		what = fmt.Sprintf("%s at %s of %s", sizeText(w.Bytes), sizeText(w.Off), printable(w.Path))
	}
	waited := time.Duration(w.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	return fmt.Sprintf("%s, for %s: %s: %s", printable(programText(w.Program, w.PID)), waited, what, printable(w.For))
}

// age is how long ago something was, for people.
func age(at time.Time) string { return time.Since(at).Round(time.Second).String() }
