package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flags are a command's, one of each kind.
func flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.String("config", "", "")
	f.String("cache", "", "")
	f.String("cache-size", "10GiB", "")
	f.Duration("read-timeout", time.Minute, "")
	f.Bool("dht", true, "")
	f.StringArray("peer", nil, "")
	f.Bool("detach", false, "")
	config.CommandLineOnly(f, "detach")
	f.Int("secret", 0, "")
	if err := f.MarkHidden("secret"); err != nil {
		panic(err)
	}
	return f
}

// host has a home folder with a settings file, unless text is empty.
func host(tb testing.TB, text string, env ...string) config.Host {
	tb.Helper()
	home := tb.TempDir()
	if text != "" {
		write(tb, filepath.Join(home, ".config", "weir", "config.yaml"), text)
	}
	return config.Host{Environ: append([]string{"HOME=" + home}, env...), System: filepath.Join(home, "etc", "config.yaml")}
}

func write(tb testing.TB, path, text string) string {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestOrder(t *testing.T) {
	const file = "cache: /from/file\ncache-size: 1GiB\n# a comment\nread-timeout: 5s\ndht: false\n"
	f := flags()
	if err := f.Parse([]string{"--cache=/from/flag"}); err != nil {
		t.Fatal(err)
	}
	h := host(t, file, "WEIR_CACHE=/from/env", "WEIR_CACHE_SIZE=2GiB", "WEIR_PEER=a:1,b:2", "WEIR_DHT=")
	s, err := config.Settle(f, h)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ value, from string }{
		"cache":        {"/from/flag", "flag"},
		"cache-size":   {"2GiB", "WEIR_CACHE_SIZE"},
		"read-timeout": {"5s", s.Path + ":4"},
		"dht":          {"false", s.Path + ":5"}, // an empty variable is none
		"peer":         {"[a:1,b:2]", "WEIR_PEER"},
	} {
		if got := f.Lookup(name).Value.String(); got != want.value || s.From[name] != want.from {
			t.Errorf("%s is %q from %q, want %q from %q", name, got, s.From[name], want.value, want.from)
		}
	}
	for _, name := range []string{"detach", "secret", "config"} {
		if from, ok := s.From[name]; ok {
			t.Errorf("%s is a setting, from %s", name, from)
		}
	}
}

func TestWhichFile(t *testing.T) {
	named := write(t, filepath.Join(t.TempDir(), "named.yaml"), "cache: named\n")
	variable := write(t, filepath.Join(t.TempDir(), "variable.yaml"), "cache: variable\n")
	xdg := t.TempDir()
	write(t, filepath.Join(xdg, "weir", "config.yaml"), "cache: xdg\n")
	for name, c := range map[string]struct {
		args []string
		env  []string
		home string
		want string
	}{
		"Flag":         {[]string{"--config", named}, []string{"WEIR_CONFIG=" + variable}, "cache: home", "named"},
		"Variable":     {nil, []string{"WEIR_CONFIG=" + variable}, "cache: home", "variable"},
		"Nothing":      {nil, []string{"WEIR_CONFIG=/dev/null"}, "cache: home", ""},
		"XDG":          {nil, []string{"XDG_CONFIG_HOME=" + xdg}, "cache: home", "xdg"},
		"XDG relative": {nil, []string{"XDG_CONFIG_HOME=x"}, "cache: home", "home"},
		"Home":         {nil, nil, "cache: home", "home"},
		"System":       {nil, nil, "", "system"},
	} {
		t.Run(name, func(t *testing.T) {
			f := flags()
			if err := f.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			h := host(t, c.home, c.env...)
			write(t, h.System, "cache: system\n")
			if _, err := config.Settle(f, h); err != nil {
				t.Fatal(err)
			}
			if got := f.Lookup("cache").Value.String(); got != c.want {
				t.Errorf("cache is %q, want %q", got, c.want)
			}
		})
	}
	f := flags()
	if err := f.Parse([]string{"--config", "/missing.yaml"}); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Settle(f, host(t, "")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was named and is missing: %v", err)
	}
}

func TestMountpointAndTorrents(t *testing.T) {
	h := host(t, "mountpoint: ~/t\ntorrents:\n  - ~/a.torrent\n  - magnet:?xt=urn:btih:00\n")
	t.Setenv("HOME", "/home/somebody")
	s, err := config.Settle(flags(), h)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mountpoint != "/home/somebody/t" || !slices.Equal(s.Torrents, []string{"/home/somebody/a.torrent", "magnet:?xt=urn:btih:00"}) {
		t.Errorf("got %q and %q", s.Mountpoint, s.Torrents)
	}
}

// TestRefused holds errors to naming the line, and what may have been meant.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"Unknown":       {"dht: true\ncache-siez: 1GiB\n", `:2: no setting "cache-siez", did you mean "cache-size"?`},
		"Underscore":    {"cache_size: 1GiB\n", `:1: no setting "cache_size", did you mean "cache-size"?`},
		"Far":           {"colour: red\n", `:1: no setting "colour"; "weir config" lists them`},
		"Twice":         {"cache: a\n\ncache: b\n", ":3: cache stands in line 1 already"},
		"Not a bool":    {"dht: yes\n", `:1: dht: want true or false, got "yes"`},
		"Not a time":    {"cache: a\nread-timeout: 60\n", ":2: read-timeout: want a time such as 500ms"},
		"List":          {"cache: [a, b]\n", ":1: cache: want one value, got 2"},
		"Mapping":       {"cache:\n  dir: a\n", ":1: want a value or a list of values"},
		"No value":      {"cache:\n", ":1: there is no value"},
		"Command line":  {"detach: true\n", `:1: no setting "detach"`},
		"Hidden":        {"secret: 1\n", `:1: no setting "secret"`},
		"Merge":         {"a: &a {dht: true}\n<<: *a\n", `:2: no setting "<<"`},
		"A list":        {"- cache\n", ":1: want lines such as"},
		"No YAML":       {"cache: [\n", "config.yaml: yaml:"},
		"Two documents": {"dht: true\n---\ncache: x\n", "more than one YAML document"},
		"Mountpoints":   {"mountpoint: [a, b]\n", ":1: want one folder"},
		"Several":       {"dth: true\nchace: x\n", `did you mean "dht"?`},
		"All of them":   {"dth: true\nchace: x\n", `:2: no setting "chace", did you mean "cache"?`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Settle(flags(), host(t, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	_, err := config.Settle(flags(), host(t, "", "WEIR_READ_TIMEOUT=soon"))
	if err == nil || !strings.Contains(err.Error(), `WEIR_READ_TIMEOUT="soon": `) {
		t.Errorf("a variable that makes no sense: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	_, err := config.Settle(flags(), host(t, "cache: [\n"))
	if !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("got %v, want weir.ErrInvalid", err)
	}
}

func TestUnknownVariables(t *testing.T) {
	s, err := config.Settle(flags(), host(t, "", "WEIR_CACHESIZE=1GiB", "WEIR_ZZZ=1", "WEIR_DHT=true", "WEIR_CONFIG=/dev/null", "OTHER=x"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"WEIR_CACHESIZE is no setting, WEIR_CACHE_SIZE is", "WEIR_ZZZ is no setting"}
	if !slices.Equal(s.Unknown, want) {
		t.Errorf("got %q, want %q", s.Unknown, want)
	}
}
