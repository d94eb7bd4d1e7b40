package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
)

// shells are those that completion writes scripts for.
var shells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
	"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion [flags] bash|zsh|fish",
		Short: "print a completion script for a shell",
		Long: `completion prints a script that lets a shell complete weir's commands, flags and
arguments: torrents for weir mount, mountpoints for weir umount. "make install"
installs these scripts.

` + exitCodes,
		Example: `  . <(weir completion bash)
  weir completion zsh > ~/.zfunc/_weir     # a folder in $fpath
  weir completion fish > ~/.config/fish/completions/weir.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      usage(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), "one of bash, zsh and fish"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return shells[args[0]](cmd.Root(), cmd.OutOrStdout())
		},
	}
}

// completeMount completes weir mount's arguments: a folder, then torrents.
func completeMount(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	exts := weir.SourceExts()
	for i := range exts {
		exts[i] = strings.TrimPrefix(exts[i], ".")
	}
	return exts, cobra.ShellCompDirectiveFilterFileExt
}

// completeMountpoint completes the folder of one of weir's mounts.
func completeMountpoint(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return weirMounts(string(b)), cobra.ShellCompDirectiveNoFileComp
}

// weirMounts returns the mountpoints of type fuse.weir in the kernel's list, which
// has a space as \040.
func weirMounts(list string) []string {
	var points []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "fuse.weir" {
			points = append(points, unescape.Replace(f[1]))
		}
	}
	return points
}

// completeValues completes a flag that takes one of a few words.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(fmt.Sprintf("completion of --%s: %v", flag, err)) // there is no such flag
	}
}
