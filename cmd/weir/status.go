package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [flags] PATH…",
		Short: "show why a read is waiting",
		Long: `status describes a torrent, or a file or folder in it: how much of it is cached,
which programs have it open, which reads are waiting and for what, and the state
of its peers, trackers and web seeds. It never waits for the network.

` + exitCodes,
		Example: `  weir status ~/t/film/film.mkv
  weir status --json ~/t/film`,
		Args: usage(cobra.MinimumNArgs(1), "at least one path"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPlace(cmd.Context(), args, func(l *live) error {
				if l.Path == "" {
					return weir.Errorf(weir.ErrInvalid, "%s is a whole mount: name a torrent, or a file or folder in one (weir ls lists the torrents)", l.Root)
				}
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
	fmt.Fprintln(w, weir.Printable(l.full(s.Path)))
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("torrent", "%s", t.InfoHash)
	if t.Wait != "" {
		row("state", "%s: %s", t.State, weir.Printable(t.Wait))
	} else {
		row("state", "%s", t.State)
	}
	if m := t.Missed; m != nil {
		row("last timeout", "a read, %s ago: %s", age(m.At), weir.Printable(m.Why))
	}
	if s.Pieces > 0 {
		row("cached", "%s of %s (%s), %d of %d pieces", sizeText(s.HaveBytes), sizeText(s.SizeBytes), shareText(s.HaveBytes, s.SizeBytes), s.Held, s.Pieces)
	}
	if s.InPlace != "" {
		row("served from", "%s, in place", weir.Printable(s.InPlace))
	}
	for _, c := range s.Changed {
		row("changed", "%s: %s", weir.Printable(c.Path), weir.Printable(c.Why))
	}
	if sel := s.Selected; sel != nil {
		files := fmt.Sprintf("%d files", sel.Files)
		if sel.Files == 1 {
			files = "1 file"
		}
		row("selected", "%s by its magnet, for fetch and pin: %s of %s cached", files, sizeText(sel.HaveBytes), sizeText(sel.SizeBytes))
	}
	switch {
	case s.Pinned:
		row("pinned", "yes")
	case t.PinPending:
		row("pinned", "as soon as the metadata arrives")
	}
	if t.State != api.StateCold {
		row("peers", "%d connected, %d of them seeds, %.2f copies in all", t.Peers, t.Seeds, t.Availability)
		row("rates", "%s down, %s up", rateText(t.DownloadRate), rateText(t.UploadRate))
	}
	row("totals", "%s up, %s down, ratio %.2f%s", sizeText(t.Uploaded), sizeText(t.Downloaded), t.Ratio, seededText(t.SeededSeconds))
	offered := "no"
	if t.Offered {
		offered = "yes"
	}
	row("seeding", "%s: %s", offered, sharingText(s.Sharing))
	for _, line := range s.Trackers {
		row("tracker", "%s", weir.Printable(line))
	}
	var newer []string
	for _, w := range s.WebSeeds {
		line := fmt.Sprintf("%s: %s, %s, %s so far", weir.Printable(w.URL), w.State, rateText(w.Rate), sizeText(w.Received))
		if w.Error != "" {
			line += "; last error: " + weir.Printable(w.Error)
		}
		row("web seed", "%s", line)
		if n := len(w.Stale); n > 0 {
			row("changed there", "%s", weir.Printable(strings.Join(w.Stale[:min(n, 5)], ", "))+map[bool]string{true: fmt.Sprintf(" and %d more", n-5)}[n > 5])
		}
		if w.Newer != "" && !slices.Contains(newer, w.Newer) {
			newer = append(newer, w.Newer)
		}
	}
	for _, u := range newer {
		row("newer torrent", "probably %s", weir.Printable(u))
	}
	for _, link := range s.HiddenLinks {
		row("hidden", "%s, a link that points outside of the torrent", weir.Printable(link))
	}
	if more := s.HiddenLinkCount - len(s.HiddenLinks); more > 0 {
		row("hidden", "and %d more", more)
	}
	for _, h := range s.Handles {
		row("open", "%s by %s, for %s, read-ahead %s", weir.Printable(h.Path), weir.Printable(programText(h.Program, h.PID)), age(h.Opened), sizeText(h.Ahead))
	}
	for _, wait := range waitTexts(s.Waits) {
		row("waiting", "%s", wait)
	}
	if len(s.Waits) == 0 {
		row("waiting", "none")
	}
	return tw.Flush()
}

// seededText is for how long a torrent was given while it was complete.
func seededText(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return ", seeded for " + (time.Duration(seconds) * time.Second).String()
}

// waitTexts returns a line for each waiting program and file, the longest waiting
// first. The kernel splits one read into several requests: they share a line.
func waitTexts(waits []api.Wait) []string {
	type waiter struct {
		path, program, reason string
		pid                   int
		read                  bool
	}
	var order []waiter
	all := map[waiter][]api.Wait{}
	for _, w := range waits {
		who := waiter{w.Path, w.Program, w.For, w.PID, w.Bytes > 0}
		if all[who] == nil {
			order = append(order, who)
		}
		all[who] = append(all[who], w)
	}
	var lines []string
	for _, who := range order {
		lines = append(lines, waitText(all[who]))
	}
	return lines
}

// waitText is about requests of one program for one file, the first of which has
// waited longest.
func waitText(waits []api.Wait) string {
	w := waits[0]
	what := "lookup in " + weir.Printable(w.Path)
	if w.Bytes > 0 {
		first, bytes := w.Off, int64(0)
		for _, w := range waits {
			first, bytes = min(first, w.Off), bytes+w.Bytes
		}
		what = fmt.Sprintf("%s at %s of %s", sizeText(bytes), sizeText(first), weir.Printable(w.Path))
	}
	if len(waits) > 1 {
		what = fmt.Sprintf("%d requests, %s", len(waits), what)
	}
	waited := time.Duration(w.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	return fmt.Sprintf("%s, for %s: %s: %s", weir.Printable(programText(w.Program, w.PID)), waited, what, weir.Printable(w.For))
}

// age is how long ago something was, for people.
func age(at time.Time) string { return time.Since(at).Round(time.Second).String() }
