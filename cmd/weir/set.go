package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/api"
)

func newSet() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "set [flags] PATH KEY=VALUE…",
		Short: "change limits, ratio and trackers of one torrent",
		Long: `set changes how one torrent is given to others. The settings are kept after a
restart; weir status shows them.

  seed=all            give it to whoever asks, whatever weir mount --seed says
  seed=none           don't, and don't announce it, while no program reads it
  ratio=N             until it has given N times what was fetched
  seed-time=TIME      until it was complete and given for TIME, such as 72h
  upload-limit=SIZE   upload at most SIZE of it per second, such as 500KB
  download-limit=SIZE download at most SIZE of it per second
  tracker=URL         announce it to one more tracker; may be repeated

The value none takes a limit, ratio or time away. The value default goes back to
what weir mount says: for seed, ratio and seed-time.

` + exitCodes,
		Example: `  weir set ~/t/debian-12.iso ratio=2 upload-limit=1MiB
  weir set ~/t/film tracker=udp://tracker.example.org:6969/announce`,
		Args: usage(cobra.MinimumNArgs(2), "a path and at least one KEY=VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := parseSharing(args[1:])
			if err != nil {
				return usageError{err, cmd.CommandPath()}
			}
			l, err := connect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer l.Close()
			s, err := l.Status(cmd.Context(), l.Path)
			if err != nil {
				return err
			}
			set, err := l.SetSharing(cmd.Context(), s.Torrent.InfoHash, change)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), set)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), sharingText(set))
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// sharingText is what holds for giving a torrent to others.
func sharingText(s api.Sharing) string {
	parts := []string{"seed " + s.Seed}
	if s.Ratio > 0 {
		parts = append(parts, fmt.Sprintf("until ratio %.4g", s.Ratio))
	}
	if s.SeedSeconds > 0 {
		parts = append(parts, "for "+(time.Duration(s.SeedSeconds)*time.Second).String())
	}
	if s.UploadRate > 0 {
		parts = append(parts, "upload at most "+rateText(s.UploadRate))
	}
	if s.DownloadRate > 0 {
		parts = append(parts, "download at most "+rateText(s.DownloadRate))
	}
	return strings.Join(parts, ", ")
}

// parseSharing reads KEY=VALUE arguments.
func parseSharing(args []string) (c api.SharingChange, err error) {
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || value == "" {
			return c, fmt.Errorf("want KEY=VALUE, got %q", arg)
		}
		if err := setSharing(&c, key, value); err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
	}
	return c, nil
}

const (
	valueNone    = "none"
	valueDefault = "default"
)

func setSharing(c *api.SharingChange, key, value string) error {
	switch key {
	case "seed":
		if value != "all" && value != valueNone && value != valueDefault {
			return fmt.Errorf("want all, none or default, got %q", value)
		}
		c.Seed = &value
	case "ratio":
		var r ratio
		switch value {
		case valueNone:
		case valueDefault:
			r = -1
		default:
			if err := r.Set(value); err != nil {
				return err
			}
		}
		c.Ratio = (*float64)(&r)
	case "seed-time":
		var seconds int64
		switch value {
		case valueNone:
		case valueDefault:
			seconds = -1
		default:
			var d seedTime
			if err := d.Set(value); err != nil {
				return err
			}
			seconds = max(1, int64(time.Duration(d)/time.Second))
		}
		c.SeedSeconds = &seconds
	case "upload-limit", "download-limit":
		var size byteSize
		if value != valueNone {
			if err := size.Set(value); err != nil {
				return err
			}
		}
		if key == "upload-limit" {
			c.UploadRate = (*int64)(&size)
		} else {
			c.DownloadRate = (*int64)(&size)
		}
	case "tracker":
		c.AddTrackers = append(c.AddTrackers, value)
	default:
		return errors.New("there is no such setting: weir set --help lists them")
	}
	return nil
}
