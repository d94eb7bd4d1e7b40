package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func newTop() *cobra.Command {
	var interval time.Duration
	var count int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "top [flags] [DIR]",
		Short: "watch what a mount does",
		Long: `top shows, again and again until Ctrl-C, the torrents of the mount at DIR (by
default the working folder) that do something, the files that are open and by
which program, and which reads wait and what for. Where the output is no
terminal it is printed one after another.

` + exitCodes,
		Example: `  weir top ~/t
  weir top --count 1 ~/t
  weir top --json --interval 10s ~/t | jq .waits`,
		Args: usage(cobra.MaximumNArgs(1), "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval < 100*time.Millisecond {
				return usageError{fmt.Errorf("want an interval of 100ms at least, got %v", interval), cmd.CommandPath()}
			}
			l, err := connect(cmd.Context(), append(args, ".")[0])
			if err != nil {
				return err
			}
			defer l.Close()
			return watchTop(cmd.Context(), l, screenOf(cmd.OutOrStdout()), interval, count, asJSON)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "look again after this `TIME`")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "look `N` times; 0: until Ctrl-C")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// glance is what top shows at a time.
type glance struct {
	Time     time.Time     `json:"time"`
	Torrents []api.Torrent `json:"torrents"`
	Handles  []api.Handle  `json:"handles"`
	Waits    []api.Wait    `json:"waits"`
}

func look(ctx context.Context, l *live) (g glance, err error) {
	g.Time = time.Now()
	if g.Torrents, err = l.Torrents(ctx); err != nil {
		return g, err
	}
	if g.Handles, err = l.Handles(ctx); err != nil {
		return g, err
	}
	g.Waits, err = l.Waits(ctx)
	return g, err
}

// watchTop shows count glances, or until ctx ends, which is its usual end.
func watchTop(ctx context.Context, l *live, out screen, interval time.Duration, count int, asJSON bool) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		g, err := look(ctx, l)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case asJSON:
			err = printJSON(out, g)
		default:
			err = out.show(l, g)
		}
		if err != nil || n == count {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screen is where top prints: a terminal, or something else.
type screen struct {
	io.Writer
	fd int // -1: no terminal
}

func screenOf(w io.Writer) screen {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return screen{w, int(f.Fd())}
	}
	return screen{w, -1}
}

// width returns how many characters fit into a line, 0 if that is unknown.
func (s screen) width() int {
	if w, _, err := term.GetSize(s.fd); err == nil {
		return w
	}
	return 0
}

// show prints a glance, on a terminal in the place of the last one and as much as
// fits.
func (s screen) show(l *live, g glance) error {
	width, lines := 0, 0
	if s.fd >= 0 {
		if w, h, err := term.GetSize(s.fd); err == nil {
			width, lines = w, h
		}
	}
	var b bytes.Buffer
	if err := printGlance(&b, l, g, width); err != nil {
		return err
	}
	if s.fd < 0 {
		b.WriteByte('\n')
		_, err := s.Write(b.Bytes())
		return err
	}
	rows := bytes.Split(bytes.TrimRight(b.Bytes(), "\n"), []byte("\n"))
	if lines > 1 && len(rows) > lines-1 {
		rows = rows[:lines-1]
	}
	var text bytes.Buffer
	text.WriteString("\x1b[H\x1b[2J") // the top left corner, and nothing else there
	for _, row := range rows {
		text.WriteString(cut(string(row), width))
		text.WriteString("\r\n")
	}
	_, err := s.Write(text.Bytes())
	return err
}

// printGlance prints what does something; the rest is counted.
func printGlance(w io.Writer, l *live, g glance, width int) error {
	var down, up, have int64
	peers := 0
	var busy []api.Torrent
	for _, t := range g.Torrents {
		down += t.DownloadRate
		up += t.UploadRate
		have += t.HaveBytes
		peers += t.Peers
		if t.Peers > 0 || t.State != api.StateCold && t.State != api.StateComplete {
			busy = append(busy, t)
		}
	}
	slices.SortStableFunc(busy, func(a, b api.Torrent) int {
		return int(b.DownloadRate + b.UploadRate - a.DownloadRate - a.UploadRate)
	})
	fmt.Fprintf(w, "%s  %s  %d torrents, %s held, %d peers, %s down, %s up\n\n", weir.Printable(l.Root), g.Time.Format(time.TimeOnly),
		len(g.Torrents), sizeText(have), peers, rateText(down), rateText(up))
	if len(busy) > 0 {
		if err := printTorrents(w, busy, width/2); err != nil {
			return err
		}
	}
	if idle := len(g.Torrents) - len(busy); idle > 0 {
		fmt.Fprintf(w, "%d more, which do nothing\n", idle)
	}
	if len(g.Handles) > 0 {
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, "\nOPEN\tBY\tFOR")
		for _, h := range g.Handles {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", weir.Printable(h.Path), weir.Printable(programText(h.Program, h.PID)), age(h.Opened))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if len(g.Waits) > 0 {
		fmt.Fprintln(w, "\nWAITING")
		for _, wait := range waitTexts(g.Waits) {
			fmt.Fprintln(w, wait)
		}
	}
	return nil
}
