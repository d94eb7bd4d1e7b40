package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
)

// live is a place in a mount and who serves it.
type live struct {
	*api.Client
	api.Place
}

// connect finds the mount that a path lies in. The caller closes it.
func connect(ctx context.Context, path string) (*live, error) {
	place, err := api.FindContext(ctx, path)
	if err != nil {
		return nil, err
	}
	return &live{api.NewClient(place.Socket), place}, nil
}

// full returns the path in the file system of a path in the mount.
func (l *live) full(path string) string { return filepath.Join(l.Root, path) }

// eachPlace calls do with the mount and the place of each path, one after another.
// The first error ends it.
func eachPlace(ctx context.Context, paths []string, do func(l *live) error) error {
	for _, path := range paths {
		l, err := connect(ctx, path)
		if err != nil {
			return err
		}
		err = do(l)
		l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVar(on, "json", false, "print JSON, as docs/api.md describes it")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// sizeText and rateText are for people.
func sizeText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func rateText(n int64) string {
	if n <= 0 {
		return "-"
	}
	return sizeText(n) + "/s"
}

// shareText is a share of something in percent; only all of it is 100.
func shareText(have, size int64) string {
	switch {
	case size <= 0:
		return "-"
	case have >= size:
		return "100%"
	}
	return fmt.Sprintf("%d%%", min(99, have*100/size))
}

// programText names who opened or reads something.
func programText(name string, pid int) string {
	if name == "" {
		name = "an unknown program"
	}
	if pid == 0 {
		return "the kernel"
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}

// printJSONLine prints a value in one line.
func printJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
