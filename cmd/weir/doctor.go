package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/config"
	"github.com/weirfs/weir/cmd/internal/doctor"
)

const doctorLong = `doctor checks that this machine has what weir mount needs, with the settings in
effect. Below each problem it prints what to do. It changes nothing and uses no
network.

doctor takes the flags of weir mount, to check with other settings.

Exit codes:
  0  weir can mount; there may be warnings
  1  something keeps weir from mounting
  2  wrong usage`

func newDoctor() *cobra.Command {
	var asJSON bool
	mount := newMount()
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "check this machine for what weir needs",
		Long:  doctorLong,
		Example: `  weir doctor
  weir doctor --listen :6881 --cache /mnt/nas/weir
  weir doctor --json`,
		Args: usage(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Settle(mount.Flags(), config.ThisHost())
			var found []doctor.Finding
			if err != nil {
				found = append(found, doctor.Finding{Check: "settings", Level: doctor.Fail, Text: weir.ErrorText(err),
					Next: "correct it; weir config --help says where settings come from"})
			} else {
				found = append(found, checkSettings(settings))
			}
			o, err := doctorOptions(mount.Flags())
			if err != nil {
				return err
			}
			found = append(found, doctor.Run(cmd.Context(), o)...)
			if err := printFindings(cmd.OutOrStdout(), found, asJSON); err != nil {
				return err
			}
			failed := 0
			for _, f := range found {
				if f.Level == doctor.Fail {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d checks failed: each has its next step above", failed, len(found))
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	shareFlags(cmd, mount)
	return cmd
}

// shareFlags gives a command mount's settings as flags of its own.
func shareFlags(cmd, mount *cobra.Command) {
	mount.Flags().VisitAll(func(f *pflag.Flag) {
		if config.IsSetting(f) || f.Name == config.FileFlag {
			cmd.Flags().AddFlag(f) // the same value: what is set here is set there
		}
	})
}

// doctorOptions picks what doctor looks at from settings that are in effect.
func doctorOptions(flags *pflag.FlagSet) (doctor.Options, error) {
	o := doctor.New()
	var err error
	if o.CacheDir, err = cacheDir(flags.Lookup("cache").Value.String()); err != nil {
		return o, err
	}
	if size, ok := flags.Lookup("cache-size").Value.(*byteSize); ok {
		o.CacheBytes = int64(*size)
	}
	o.Listen = flags.Lookup("listen").Value.String()
	if o.AllowOther, err = flags.GetBool("allow-other"); err != nil {
		return o, err
	}
	o.ReadTimeout, err = flags.GetDuration("read-timeout")
	return o, err
}

// checkSettings tells of variables that somebody may think have an effect.
func checkSettings(s *config.Settings) doctor.Finding {
	if len(s.Unknown) > 0 {
		return doctor.Finding{Check: "settings", Level: doctor.Warn, Text: strings.Join(s.Unknown, "; "), Next: "weir config lists what is in effect"}
	}
	text := "no settings file"
	if s.Path != "" {
		text = s.Path
	}
	return doctor.Finding{Check: "settings", Level: doctor.OK, Text: text}
}

func printFindings(w io.Writer, found []doctor.Finding, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(found)
	}
	for _, f := range found {
		fmt.Fprintf(w, "%-4s  %-8s  %s\n", f.Level, f.Check, weir.Printable(f.Text))
		if f.Next != "" {
			fmt.Fprintf(w, "%-4s  %-8s  → %s\n", "", "", weir.Printable(f.Next))
		}
	}
	return nil
}
