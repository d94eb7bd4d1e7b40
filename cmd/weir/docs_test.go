package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir/cmd/internal/config"
)

// pages returns the text of each page that users read, by its path.
func pages(tb testing.TB) map[string]string {
	tb.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				tb.Fatal(err)
			}
			pages[strings.TrimPrefix(name, repository+"/")] = string(b)
		}
	}
	if len(pages) < 10 {
		tb.Fatalf("found only %d pages", len(pages))
	}
	return pages
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```\\w*\n(.*?)^```$|((?:^    [^\n]*\n)+)")
	codeSpan  = regexp.MustCompile("`([^`\n]+)`")
	callsWeir = regexp.MustCompile(`^(?:[A-Z_]+=\S* +|sudo +)*(?:bin/)?weir +(.*)$`)
	flagName  = regexp.MustCompile(`(?:^|[\s(])(--[a-z][a-z-]+)`)
	variable  = regexp.MustCompile(`\bWEIR_[A-Z_]+\b`)
)

// calls returns the command lines of weir in a line of shell, without "weir".
func calls(line string) []string {
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	if i := strings.Index(line, "  #"); i >= 0 {
		line = line[:i]
	}
	var calls []string
	for _, part := range regexp.MustCompile(`&&|[|;]`).Split(quoted.ReplaceAllString(line, "quoted"), -1) {
		if m := callsWeir.FindStringSubmatch(strings.TrimSpace(strings.Trim(strings.TrimSpace(part), ".<()"))); m != nil {
			before, _, _ := strings.Cut(m[1], " > ")
			calls = append(calls, before)
		}
	}
	return calls
}

// messages are second words of log lines and errors that begin with "weir".
var messages = []string{"has", "(process"}

var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// checkCall fails unless weir understands a command line; whole says that it has all
// arguments.
func checkCall(t *testing.T, where, call string, whole bool) {
	t.Helper()
	words := strings.Fields(call)
	if len(words) == 0 || words[0] == "…" || words[0] == "help" || slices.Contains(messages, words[0]) {
		return
	}
	root := newRoot()
	cmd, rest, err := root.Find(words)
	if err == nil && cmd == root && !strings.HasPrefix(words[0], "-") {
		err = unknownCommand(root, words[0])
	}
	if err != nil {
		t.Errorf("%s: weir %s: %v", where, call, err)
		return
	}
	if slices.Contains(rest, "--help") {
		return
	}
	cmd.InitDefaultHelpFlag()
	err = cmd.ParseFlags(rest)
	if err == nil && whole {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil && (whole || !strings.Contains(err.Error(), "flag needs an argument")) {
		t.Errorf("%s: weir %s: %v", where, call, err)
	}
}

// TestDocumentedCalls parses each command line of weir in the pages and in the
// examples of the help texts with the commands' own flags.
func TestDocumentedCalls(t *testing.T) {
	texts := pages(t)
	apart(t)
	found := 0
	for page, text := range texts {
		for _, m := range codeBlock.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(m[1] + m[2]) {
				for _, call := range calls(line) {
					checkCall(t, page, call, !strings.Contains(call, "…"))
					found++
				}
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
			for _, call := range calls(m[1]) {
				checkCall(t, page, call, false)
				found++
			}
		}
	}
	eachCommand(newRoot(), nil, func(cmd *cobra.Command, _ []string) {
		for line := range strings.Lines(cmd.Example) {
			for _, call := range calls(line) {
				checkCall(t, "the examples of "+cmd.CommandPath(), call, true)
				found++
			}
		}
	})
	if found < 100 {
		t.Errorf("found only %d command lines", found)
	}
}

// otherFlags are those of other programs that the pages name.
var otherFlags = []string{
	"--apparent-size", "--sparse", "--inplace", "--xattrs", "--user", "--now", "--path", "--device", "--cap-add", "--bare",
	"--unix-socket", "--only-values", "--data-binary", // du, tar, rsync, systemctl, docker, git, curl, getfattr
	"--json", "--list", "--only", "--repeat", "--systems", "--profile", "--dir", "--relay", "--quick", "--help", // make bench
}

// TestDocumentedFlags looks up each flag and each variable that the pages and the help
// texts name.
func TestDocumentedFlags(t *testing.T) {
	known, variables := otherFlags, []string{"WEIR_CONFIG", "WEIR_SKIP_PEERS", "WEIR_"}
	texts := pages(t)
	eachCommand(newRoot(), nil, func(cmd *cobra.Command, _ []string) {
		texts["the help of "+cmd.CommandPath()] = cmd.Long
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			known = append(known, "--"+f.Name)
			texts["the help of "+cmd.CommandPath()+" --"+f.Name] = f.Usage
			if config.IsSetting(f) {
				variables = append(variables, config.Variable(f.Name))
			}
		})
		cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	})
	for where, text := range texts {
		var code []string
		if strings.HasSuffix(where, ".md") {
			for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
				code = append(code, m[1])
			}
			for _, m := range codeBlock.FindAllStringSubmatch(text, -1) {
				code = append(code, m[0])
			}
		} else {
			code = []string{text}
		}
		for _, c := range code {
			for _, m := range flagName.FindAllStringSubmatch(c, -1) {
				if !slices.Contains(known, strings.TrimSuffix(m[1], "-")) {
					t.Errorf("%s names %s, which is no flag of any command", where, m[1])
				}
			}
			for _, name := range variable.FindAllString(c, -1) {
				if !slices.Contains(variables, name) {
					t.Errorf("%s names %s, which is no setting", where, name)
				}
			}
		}
	}
}

// TestHelpFitsTheTerminal holds help texts to the width at which flags are wrapped.
func TestHelpFitsTheTerminal(t *testing.T) {
	eachCommand(newRoot(), nil, func(_ *cobra.Command, args []string) {
		text, _ := says(t, append(args, "--help")...)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpColumns {
				t.Errorf("weir %s --help has a line of %d columns: %s", strings.Join(args, " "), n, line)
			}
		}
	})
}
