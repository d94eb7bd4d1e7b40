package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weirfs/weir/cmd/proof/command"
)

// TestMain is the tool itself when the test runs it again.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TEST_TOOL") == "" {
		os.Exit(m.Run())
	}
	command.Main("tool", func(ctx context.Context, args []string, stdout, _ io.Writer) (int, error) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return 1, err
		}
		<-ctx.Done()
		fmt.Fprintln(stdout, "ended after", args)
		return 3, errors.New("so it is")
	})
}

func TestTool(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "a", "b")
	cmd.Env = append(os.Environ(), "WEIR_TEST_TOOL=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 3 || string(out) != "ended after [a b]\n" || stderr.String() != "tool: so it is\n" {
		t.Errorf("exit code %d, %q, %q, %v", code, out, stderr.String(), err)
	}
}
