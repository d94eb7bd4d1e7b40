// Package config finds out which settings are in effect: those of the command
// line, of the environment, and of one YAML file, in this order. A setting is a
// flag; the other two are made from the flags' names mechanically, so that no
// flag can lack them:
//
//	--cache-size 20GiB    WEIR_CACHE_SIZE=20GiB    cache-size: 20GiB
//
// What must not live here: what a setting means. That is the flag's own.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
)

// FileFlag is the flag that names the settings file.
const FileFlag = "config"

// envPrefix begins the names of all variables.
const envPrefix = "WEIR_"

// commandLineOnly marks flags that belong to one call.
const commandLineOnly = "weir_command_line_only"

// CommandLineOnly takes flags out of the settings: they are neither read from
// the environment nor from a file. It panics if there is no such flag.
func CommandLineOnly(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if err := flags.SetAnnotation(name, commandLineOnly, nil); err != nil {
			panic(err)
		}
	}
}

// IsSetting reports whether a flag can be set by the environment and by a file.
func IsSetting(f *pflag.Flag) bool {
	_, only := f.Annotations[commandLineOnly]
	return !only && !f.Hidden && f.Name != "help" && f.Name != FileFlag
}

// Variable returns the name of the environment variable for a flag.
func Variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Host is where variables and files come from.
type Host struct {
	Environ []string // as os.Environ returns it
	System  string   // the file for all users, used if the user has none
}

// ThisHost is this process's environment, and /etc.
func ThisHost() Host {
	return Host{Environ: os.Environ(), System: "/etc/weir/config.yaml"}
}

// Settings are what Settle found.
type Settings struct {
	Path       string   // of the file that was read; "": none
	Mountpoint string   // as the file says; "": it doesn't
	Torrents   []string // the file's

	// From says for each setting where its value comes from: "flag", the name of
	// a variable, FILE:LINE, or "default".
	From map[string]string
	// Unknown are variables that look like settings but aren't, with suggestions.
	Unknown []string
}

// Settle sets each flag that the command line has not set from the environment,
// or else from the file. The file is the one that the flag FileFlag or its
// variable names, else the user's own ($XDG_CONFIG_HOME/weir/config.yaml or
// ~/.config/weir/config.yaml), else host.System; these two need not be there. An
// error names the variable, or the file and line, and wraps weir.ErrInvalid unless the
// file can't be read.
func Settle(flags *pflag.FlagSet, host Host) (*Settings, error) {
	env := environ(host.Environ)
	s := &Settings{From: map[string]string{}}
	file, err := openFile(flags, env, host.System)
	if err != nil {
		return nil, err
	}
	inFile := map[string]entry{}
	if file != nil {
		s.Path, s.Mountpoint, s.Torrents = file.path, file.mountpoint, file.torrents
		for _, e := range file.entries {
			inFile[e.key] = e
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if !IsSetting(f) {
			return
		}
		from, err := settleFlag(f, env, inFile[f.Name], s.Path)
		s.From[f.Name] = from
		errs = append(errs, err)
	})
	s.Unknown = unknownVariables(flags, host.Environ)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// settleFlag gives one flag its value and returns where that is from.
func settleFlag(f *pflag.Flag, env map[string]string, e entry, path string) (string, error) {
	if f.Changed {
		return "flag", nil
	}
	if v := env[Variable(f.Name)]; v != "" {
		values := []string{v}
		if _, list := f.Value.(pflag.SliceValue); list {
			values = strings.Split(v, ",")
		}
		if err := set(f, values); err != nil {
			return "", weir.Errorf(weir.ErrInvalid, "%s=%q: %w", Variable(f.Name), v, err)
		}
		return Variable(f.Name), nil
	}
	if e.key != "" {
		from := fmt.Sprintf("%s:%d", path, e.line)
		if err := set(f, e.values); err != nil {
			return "", weir.Errorf(weir.ErrInvalid, "%s: %s: %w", from, e.key, err)
		}
		return from, nil
	}
	return "default", nil
}

// set gives a flag values, of which it takes one unless it may be repeated.
func set(f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		f.Changed = true
		return list.Replace(values)
	}
	if len(values) != 1 {
		return fmt.Errorf("want one value, got %d", len(values))
	}
	if err := f.Value.Set(values[0]); err != nil {
		return Refused(f, values[0], err)
	}
	f.Changed = true
	return nil
}

// wants are the values that flags of the library's own types take.
var wants = map[string]string{
	"bool":     "true or false",
	"int":      "a whole number",
	"uint32":   "a whole number from 0 to 4294967295",
	"duration": "a time such as 500ms, 30s or 5m",
}

// Refused returns why a flag does not take a value, for which its Set returned err. Errors of
// the library's own flags are reworded: they are those of Go's parsers.
func Refused(f *pflag.Flag, value string, err error) error {
	if want, ok := wants[f.Value.Type()]; ok {
		return fmt.Errorf("want %s, got %q", want, value)
	}
	return err
}

// openFile reads the settings file; nil means that there is none.
func openFile(flags *pflag.FlagSet, env map[string]string, system string) (*file, error) {
	if f := flags.Lookup(FileFlag); f != nil {
		if !f.Changed {
			if v := env[Variable(FileFlag)]; v != "" {
				if err := set(f, []string{v}); err != nil {
					return nil, err
				}
			}
		}
		if path := f.Value.String(); path != "" {
			return readFile(path, flags)
		}
	}
	for _, path := range []string{userFile(env), system} {
		if path == "" {
			continue
		}
		f, err := readFile(path, flags)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		return f, err
	}
	return nil, nil
}

// userFile is where a user's own settings are; "" if there is no home folder.
func userFile(env map[string]string) string {
	if dir := env["XDG_CONFIG_HOME"]; filepath.IsAbs(dir) { // others are to be ignored, says the XDG specification
		return filepath.Join(dir, "weir", "config.yaml")
	}
	if home := env["HOME"]; home != "" {
		return filepath.Join(home, ".config", "weir", "config.yaml")
	}
	return ""
}

func environ(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

// unknownVariables returns a sentence for each WEIR_ variable that is no
// setting: somebody may wonder why it has no effect.
func unknownVariables(flags *pflag.FlagSet, list []string) []string {
	known := []string{strings.TrimPrefix(Variable(FileFlag), envPrefix)}
	flags.VisitAll(func(f *pflag.Flag) {
		if IsSetting(f) {
			known = append(known, strings.TrimPrefix(Variable(f.Name), envPrefix))
		}
	})
	var unknown []string
	for _, kv := range list {
		full, _, _ := strings.Cut(kv, "=")
		name, ours := strings.CutPrefix(full, envPrefix)
		if !ours || contains(known, name) {
			continue
		}
		text := full + " is no setting"
		if near := Nearest(name, known); near != "" {
			text += ", " + envPrefix + near + " is"
		}
		unknown = append(unknown, text)
	}
	return unknown
}
