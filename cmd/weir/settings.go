package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/background"
	"github.com/weirfs/weir/cmd/internal/config"
)

// settle gives the flags of mount that were not named in the command line their
// values from the environment and the settings file. It returns the arguments: a
// folder, which is the file's when the command line has none, and sources, which
// are the file's when the command line has none and the folder is the file's too,
// or the file names no folder.
func settle(cmd *cobra.Command, args []string, l *life) ([]string, error) {
	host := config.ThisHost()
	if l.as != nil {
		host.Environ = l.environ
	}
	var s *config.Settings
	err := background.As(l.as, func() (err error) {
		s, err = settings(cmd.Flags(), host)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(args) == 0 && s.Mountpoint != "" {
		args = []string{s.Mountpoint}
	}
	if len(args) == 1 && (s.Mountpoint == "" || samePath(args[0], s.Mountpoint)) {
		args = append(slices.Clone(args), s.Torrents...)
	}
	if len(args) < 1 {
		return nil, usageError{errors.New("want a folder to mount on, and torrents to add, if any"), cmd.CommandPath()}
	}
	return args, nil
}

// settings is config.Settle, with a setting that is not valid as wrong usage, like a flag.
func settings(flags *pflag.FlagSet, host config.Host) (*config.Settings, error) {
	s, err := config.Settle(flags, host)
	if errors.Is(err, weir.ErrInvalid) {
		return nil, usageError{err, "weir config"}
	}
	return s, err
}

// mountOnlyFlags returns the settings of weir mount that weir serve does not have.
func mountOnlyFlags() []*pflag.Flag {
	var only []*pflag.Flag
	flags := newMount().Flags()
	for _, name := range []string{"uid", "gid", "allow-other", "nonempty", "auto-unmount", "log-file"} {
		only = append(only, flags.Lookup(name))
	}
	return only
}

// samePath reports whether two names are of the same file, as far as the names say.
func samePath(a, b string) bool {
	a, err := filepath.Abs(a)
	if err != nil {
		return false
	}
	b, err = filepath.Abs(b)
	return err == nil && a == b
}

const configLong = `config prints the settings that weir mount would use, and where each comes from.
A setting is taken from the first of these that has it:

  the command line   --cache-size 20GiB
  the environment    WEIR_CACHE_SIZE=20GiB
  one settings file  cache-size: 20GiB
  the default

The settings file is the one named by --config or WEIR_CONFIG; otherwise the
user's own, $XDG_CONFIG_HOME/weir/config.yaml or ~/.config/weir/config.yaml;
otherwise /etc/weir/config.yaml. Its keys are the flags of weir mount, with a
list for a flag that may be repeated. Two more keys, "mountpoint" and
"torrents", are what weir mount uses when it is called without arguments.

config takes the flags of weir mount, to show what they would change.

` + exitCodes

func newConfig() *cobra.Command {
	var asJSON bool
	mount := newMount()
	cmd := &cobra.Command{
		Use:   "config [flags]",
		Short: "print the settings in effect and where they come from",
		Long:  configLong,
		Example: `  weir config
  WEIR_CACHE_SIZE=1TB weir config
  weir config --config /etc/weir/config.yaml --json`,
		Args: usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := settings(mount.Flags(), config.ThisHost())
			if err != nil {
				return err
			}
			rows := settingRows(mount.Flags(), s)
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(struct {
					File       string       `json:"file"`
					Mountpoint string       `json:"mountpoint,omitempty"`
					Torrents   []string     `json:"torrents,omitempty"`
					Settings   []settingRow `json:"settings"`
					Unknown    []string     `json:"unknown,omitempty"`
				}{s.Path, s.Mountpoint, s.Torrents, rows, s.Unknown})
			}
			return printSettings(cmd, s, rows)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	shareFlags(cmd, mount)
	return cmd
}

// settingRow is one setting as it is printed.
type settingRow struct {
	Name  string   `json:"name"`
	Value []string `json:"value"` // several where a flag may be repeated; empty: nothing is set
	From  string   `json:"from"`

	otherwise string // what holds when nothing is set, for people
}

// defaultText finds in a flag's help what holds when it is not set.
var defaultText = regexp.MustCompile(`\(default (.*)\)$`)

func settingRows(flags *pflag.FlagSet, s *config.Settings) []settingRow {
	var rows []settingRow
	flags.VisitAll(func(f *pflag.Flag) {
		if !config.IsSetting(f) {
			return
		}
		r := settingRow{Name: f.Name, Value: []string{}, From: s.From[f.Name]}
		if m := defaultText.FindStringSubmatch(f.Usage); m != nil {
			r.otherwise = m[1]
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			r.Value = append(r.Value, list.GetSlice()...)
		} else if v := f.Value.String(); v != "" {
			r.Value = append(r.Value, v)
		}
		if f.Name == "cache" && len(r.Value) == 0 {
			if dir, err := cacheDir(""); err == nil {
				r.Value = append(r.Value, dir)
			}
		}
		rows = append(rows, r)
	})
	return rows
}

func printSettings(cmd *cobra.Command, s *config.Settings, rows []settingRow) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	line := func(name, value, from string) {
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, weir.Printable(value), weir.Printable(from))
	}
	line("SETTING", "VALUE", "FROM")
	if s.Mountpoint != "" {
		line("mountpoint", s.Mountpoint, s.Path)
	}
	for _, t := range s.Torrents {
		line("torrents", t, s.Path)
	}
	for _, r := range rows {
		line(r.Name, cmp.Or(strings.Join(r.Value, ","), r.otherwise), r.From)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, u := range s.Unknown {
		fmt.Fprintf(cmd.ErrOrStderr(), "weir: %s\n", weir.Printable(u))
	}
	if s.Path == "" && os.Getenv("HOME") == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "weir: HOME is not set, so only /etc/weir/config.yaml was read")
	}
	return nil
}
