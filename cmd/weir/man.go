package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man [flags] DIR",
		Short:   "write the manual pages",
		Long:    "man writes a manual page for weir and for each of its commands into DIR, which\nis created if missing. \"make install\" calls it.\n\n" + exitCodes,
		Example: "  weir man ~/.local/share/man/man1",
		Hidden:  true,
		Args:    usage(cobra.ExactArgs(1), "one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeManPages(args[0])
		},
	}
}

// writeManPages writes weir.1, weir-mount.1 and so on.
func writeManPages(dir string) error {
	root := newRoot()
	prepareMan(root)
	// A date would make every build another one; the version says what it is for.
	when := time.Unix(0, 0).UTC()
	err := doc.GenManTree(root, &doc.GenManHeader{
		Section: "1", Source: "weir " + weirVersion(), Manual: "weir", Date: &when,
	}, dir)
	if err != nil {
		return fmt.Errorf("manual pages: %w", err)
	}
	return nil
}

// prepareMan makes a command and those beneath it fit for the library that writes
// the pages.
func prepareMan(cmd *cobra.Command) {
	cmd.Long = manText(cmd.Long)
	cmd.DisableAutoGenTag = true
	for _, name := range []string{"uid", "gid"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.DefValue = "yours" // not of who builds the page
		}
	}
	for _, sub := range cmd.Commands() {
		prepareMan(sub)
	}
}

// manText makes Markdown of a help text, from which the library makes a page:
// lines that begin with spaces keep their form, and nothing is taken for markup.
func manText(text string) string {
	var b strings.Builder
	inTable := false
	escape := strings.NewReplacer("<", `\<`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`)
	for line := range strings.Lines(text) {
		table := strings.HasPrefix(line, "  ")
		if table != inTable {
			b.WriteString("\n")
		}
		inTable = table
		if table {
			b.WriteString("    " + line)
		} else {
			b.WriteString(escape.Replace(line))
		}
	}
	return b.String()
}
