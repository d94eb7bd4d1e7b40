package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/config"
)

// The exit codes; every help text names them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

const exitCodes = `Exit codes:
  0  success
  1  failure (see standard error)
  2  wrong usage`

// helpColumns is the longest line of a help text, so that none breaks on a usual
// terminal.
const helpColumns = 80

// usageError is an error of the command line itself.
type usageError struct {
	err     error
	command string // whose help explains it, as it was called
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// run carries out one command line. It prints no errors: main does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(context.WithValue(ctx, commandLineKey{}, args))
}

// commandLineKey is where run keeps its arguments in a command's context.
type commandLineKey struct{}

// commandLine returns the arguments of run, the command's name first.
func commandLine(ctx context.Context) []string {
	args, _ := ctx.Value(commandLineKey{}).([]string)
	return args
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "mount torrents as folders",
		Long: `weir mounts torrents as folders. When a program reads a file, weir fetches
the pieces that hold those bytes from other peers and from web seeds, verifies
them and keeps them in its cache. The rest of the torrent is not downloaded.

` + exitCodes,
		Example: `  weir demo
  weir mount ~/t debian.torrent 'magnet:?xt=urn:btih:…'
  weir umount ~/t`,
		SilenceErrors: true, // main reports them
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that unknown commands end up below
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{unknownCommand(cmd, args[0]), cmd.CommandPath()}
			}
			return cmd.Help()
		},
	}
	// The texts of flags are wrapped as the texts of commands are.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", helpColumns)))
	root.CompletionOptions.DisableDefaultCmd = true // ours is documented like the others
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{flagError(cmd, err), cmd.CommandPath()}
	})
	root.AddCommand(newMount(), newServe(), newUmount(), newAdd(), newRm(), newMv(), newLs(), newStatus(), newTop(),
		newFetch(), newPin(), newUnpin(), newEvict(), newSet(), newPublish(), newSeed(), newDemo(), newVersion(), newConfig(), newDoctor(), newCache(), newCompletion(), newMan(), newGuard())
	return root
}

// flagError says what is wrong with a flag, as a settings file's errors do.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var refused *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), known); near != "" {
			return fmt.Errorf("unknown flag --%s, did you mean --%s?", unknown.GetSpecifiedName(), near)
		}
		return fmt.Errorf("unknown flag --%s", unknown.GetSpecifiedName())
	case errors.As(err, &missing):
		f := missing.GetFlag()
		value, _ := pflag.UnquoteUsage(f)
		return fmt.Errorf("--%s needs a value: --%s %s", f.Name, f.Name, value)
	case errors.As(err, &refused):
		f := refused.GetFlag()
		return fmt.Errorf("--%s: %w", f.Name, config.Refused(f, refused.GetValue(), refused.Unwrap()))
	}
	return err
}

// newHelp is for those who look for help here; the help texts name --help.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "the same as --help",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{unknownCommand(cmd.Root(), strings.Join(args, " ")), cmd.Root().CommandPath()}
			}
			of.InitDefaultHelpFlag() // as if it had been called
			return of.Help()
		},
	}
}

// unknownCommand is the error for a name that cmd has no command of.
func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = min(2, max(1, len(name)/3)) // letters that may be wrong
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		return fmt.Errorf("unknown command %q, did you mean %q?", name, like[0])
	}
	return fmt.Errorf("unknown command %q", name)
}

// usage makes violations of a rule about positional arguments usage errors,
// which name the arguments that are wanted and those that came.
func usage(rule cobra.PositionalArgs, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if rule(cmd, args) != nil {
			return usageError{fmt.Errorf("want %s, got %s", want, argsText(args)), cmd.CommandPath()}
		}
		return nil
	}
}

// maxArgsText is how many arguments an error repeats.
const maxArgsText = 3

// argsText names arguments in an error.
func argsText(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for i, arg := range args {
		if i == maxArgsText {
			fmt.Fprintf(&b, " and %d more", len(args)-i)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.80q", arg)
	}
	return b.String()
}

// report prints what went wrong and returns the exit code. What to do about it
// stands in the errors themselves: whoever finds one knows best.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w, "weir: %s\n", weir.PrintableLines(weir.ErrorText(err)))
	var u usageError
	if errors.As(err, &u) {
		fmt.Fprintf(w, "Try %q.\n", u.command+" --help")
		return exitUsage
	}
	return exitFailure
}
