package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir/cmd/internal/config"
)

// badWords are of Go, of the sentinels and of what weir's texts once said: no user
// reads them.
var badWords = regexp.MustCompile(strings.Join([]string{
	`strconv\.`, `context (deadline exceeded|canceled)`, `(^| )json: `, `EOF`, `%!`, `\bnil\b`,
	`(?m): (invalid|not found|already there|closed|in use|no space in the budget)$`,
	`it was done`, `could not be done`, `shorthand`,
}, "|"))

// unfinished is the end of an error that goes on to say nothing.
var unfinished = regexp.MustCompile(`(?m)[:,;] *$`)

// checkWords fails for a text that a user should not read.
func checkWords(t *testing.T, what, text string) {
	t.Helper()
	if bad := badWords.FindString(text); bad != "" {
		t.Errorf("%s says %q:\n%s", what, bad, text)
	}
}

// checkError fails for the text of an error that a user should not read.
func checkError(t *testing.T, what, text string) {
	t.Helper()
	checkWords(t, what, text)
	if bad := unfinished.FindString(text); bad != "" {
		t.Errorf("%s ends with %q:\n%s", what, bad, text)
	}
}

// eachCommand calls do with every command, hidden ones too, and with its arguments
// behind "weir".
func eachCommand(cmd *cobra.Command, args []string, do func(cmd *cobra.Command, args []string)) {
	do(cmd, args)
	for _, sub := range cmd.Commands() {
		eachCommand(sub, append(args[:len(args):len(args)], sub.Name()), do)
	}
}

// apart keeps a test from the user's own files.
func apart(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "WEIR_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("WEIR_CONFIG", "/dev/null")
	t.Chdir(dir)
}

// says runs weir and returns what it says and its exit code.
func says(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out, stderr bytes.Buffer
	code := report(&stderr, run(t.Context(), args, &out, &stderr))
	return out.String() + stderr.String(), code
}

func TestWordsOfHelp(t *testing.T) {
	root := newRoot()
	eachCommand(root, nil, func(cmd *cobra.Command, args []string) {
		text, code := says(t, append(args, "--help")...)
		if code != exitOK {
			t.Errorf("weir %s --help exits with %d", strings.Join(args, " "), code)
		}
		checkWords(t, "weir "+strings.Join(args, " ")+" --help", text)
	})
}

// TestWordsOfFlags gives every flag of every command a value that makes no sense, and
// none.
func TestWordsOfFlags(t *testing.T) {
	apart(t)
	root := newRoot()
	eachCommand(root, nil, func(cmd *cobra.Command, args []string) {
		what := "weir " + strings.Join(args, " ")
		for _, wrong := range []string{"--no-such-flag", "-~"} {
			text, code := says(t, append(args, wrong)...)
			checkError(t, what+" "+wrong, text)
			if code != exitUsage {
				t.Errorf("%s %s exits with %d", what, wrong, code)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			if f.NoOptDefVal == "" {
				text, code := says(t, append(args, "--"+f.Name)...)
				checkError(t, what+" --"+f.Name, text)
				if code != exitUsage || !strings.Contains(text, "--"+f.Name+" needs a value") {
					t.Errorf("%s --%s exits with %d and says %s", what, f.Name, code, text)
				}
			}
			if f.Value.Type() == "string" || f.Value.Type() == "stringArray" {
				return // any is fine so far
			}
			text, code := says(t, append(args, "--"+f.Name+"=mañana")...)
			checkError(t, what+" --"+f.Name+"=mañana", text)
			if code != exitUsage || !strings.Contains(text, "want ") {
				t.Errorf("%s --%s=mañana exits with %d and says %s", what, f.Name, code, text)
			}
		})
	})
}

// TestWordsOfSettings gives every setting a value that makes no sense, in a variable
// and in a file.
func TestWordsOfSettings(t *testing.T) {
	apart(t)
	newMount().Flags().VisitAll(func(f *pflag.Flag) {
		if !config.IsSetting(f) || f.Value.Type() == "string" || f.Value.Type() == "stringArray" {
			return
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Setenv(config.Variable(f.Name), "mañana")
			text, code := says(t, "config")
			checkError(t, config.Variable(f.Name), text)
			if code != exitUsage || !strings.Contains(text, "want ") {
				t.Errorf("exits with %d and says %s", code, text)
			}
			t.Setenv(config.Variable(f.Name), "")
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte("# nothing\n"+f.Name+": mañana\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			text, code = says(t, "config", "--config", file)
			checkError(t, file, text)
			if code != exitUsage || !strings.Contains(text, file+":2: "+f.Name+": want ") {
				t.Errorf("exits with %d and says %s", code, text)
			}
		})
	})
}

// TestWordsOfArguments calls every command with arguments that can't work.
func TestWordsOfArguments(t *testing.T) {
	apart(t)
	for name, content := range map[string]string{
		"bad.torrent": "d4:infoi1ee", "cut.torrent": "d8:announce3:x", "text.txt": "what?\n", "empty.torrent": "", "page.torrent": "<html></html>",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	wrong := []string{"dir", "missing", "bad.torrent", "cut.torrent", "text.txt", "empty.torrent", "page.torrent", "", "/proc", "magnet:?xt=nothing",
		"magnet:?xt=urn:btih:0123", "http://127.0.0.1:1/x.torrent", "udp://x", "mañana", "a\x00b"}
	root := newRoot()
	eachCommand(root, nil, func(cmd *cobra.Command, args []string) {
		if cmd.HasSubCommands() || cmd.Name() == "demo" || cmd.Hidden {
			return
		}
		if cmd.Name() != "serve" { // it needs none
			none, _ := says(t, args...)
			checkError(t, "weir "+strings.Join(args, " "), none)
		}
		for _, arg := range wrong {
			for _, more := range [][]string{{arg}, {"dir", arg}, {arg, "x"}, {"x", "y", "z", arg}} {
				if cmd.Name() == "mount" && (len(more) == 1 || more[0] != "dir") {
					continue // it would be mounted on
				}
				if st, err := os.Stat(arg); cmd.Name() == "publish" && len(more) == 1 && err == nil && (st.Size() > 0 || arg == "/proc") && arg != "dir" {
					continue // a torrent can be made of it
				}
				all := append(args[:len(args):len(args)], more...)
				text, code := says(t, all...)
				checkError(t, "weir "+strings.Join(all, " "), text)
				if code == exitOK {
					t.Errorf("weir %q succeeds: %s", all, text)
				}
			}
		}
	})
}
