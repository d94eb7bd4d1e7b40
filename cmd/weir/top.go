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
		Short: "watch a mount at work",
		Long: `top shows what happens in the mount at DIR (by default the working folder): the
active torrents, the open files and the programs that have them open, and which
reads are waiting and for what. It refreshes until Ctrl-C; if the output is not
a terminal, each refresh is printed below the last one.

` + exitCodes,
		Example: `  weir top ~/t
  weir top --count 1 ~/t
  weir top --json --interval 10s ~/t | jq .waits`,
		Args: usage(cobra.MaximumNArgs(1), "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval < 100*time.Millisecond {
				return usageError{fmt.Errorf("--interval: want at least 100ms, got %v", interval), cmd.CommandPath()}
			}
			l, err := connect(cmd.Context(), append(args, ".")[0])
			if err != nil {
				return err
			}
			defer l.Close()
			return watchTop(cmd.Context(), l, screenOf(cmd.OutOrStdout()), interval, count, asJSON)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "refresh every `TIME`")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "stop after `N` refreshes; 0 means never")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// snapshot is what top shows at a time.
type snapshot struct {
	Time     time.Time     `json:"time"`
	Torrents []api.Torrent `json:"torrents"`
	Handles  []api.Handle  `json:"handles"`
	Waits    []api.Wait    `json:"waits"`
}

func takeSnapshot(ctx context.Context, l *live) (g snapshot, err error) {
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

// watchTop shows count snapshots, or goes on until ctx ends, which is its usual end.
func watchTop(ctx context.Context, l *live, out screen, interval time.Duration, count int, asJSON bool) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		g, err := takeSnapshot(ctx, l)
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

// screen is where top prints.
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

// show prints a snapshot. On a terminal it replaces the last one, and what does not
// fit is cut.
func (s screen) show(l *live, g snapshot) error {
	width, lines := 0, 0
	if s.fd >= 0 {
		if w, h, err := term.GetSize(s.fd); err == nil {
			width, lines = w, h
		}
	}
	var b bytes.Buffer
	if err := printSnapshot(&b, l, g, width); err != nil {
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

// printSnapshot prints the active torrents, and how many are idle.
func printSnapshot(w io.Writer, l *live, g snapshot, width int) error {
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
	fmt.Fprintf(w, "%s  %s  %d torrents, %s cached, %d peers, %s down, %s up\n\n", weir.Printable(l.Root), g.Time.Format(time.TimeOnly),
		len(g.Torrents), sizeText(have), peers, rateText(down), rateText(up))
	if len(busy) > 0 {
		if err := printTorrents(w, busy, width/2); err != nil {
			return err
		}
	}
	switch idle := len(g.Torrents) - len(busy); {
	case idle == 1:
		fmt.Fprintln(w, "1 idle torrent")
	case idle > 1:
		fmt.Fprintf(w, "%d idle torrents\n", idle)
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
