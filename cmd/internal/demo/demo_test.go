package demo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirfs/weir/cmd/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("the demo has left %v behind", left)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, TempDir: dir}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("\n%s", &out)
	for _, want := range []string{
		"3 seeders", "fetched of them: 0 B", "first bytes after", "last bytes after", "31 files", "all of it right", "weir mount ~/t",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q", want)
		}
	}
	wantEmpty(t, dir)
}

// TestInterrupted ends the demo at each of its steps.
func TestInterrupted(t *testing.T) {
	stop := errors.New("stop")
	for _, at := range []string{"A torrent", "$ weir mount", "$ ls", "$ head", "$ tail", "$ cat"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			out := writerFunc(func(p []byte) {
				if strings.HasPrefix(string(p), at) {
					cancel(stop)
				}
			})
			if err := demo.Run(ctx, demo.Options{Out: out, TempDir: dir}); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v, want the reason of the interrupt", err)
			}
			wantEmpty(t, dir)
		})
	}
}

type writerFunc func(p []byte)

var _ io.Writer = writerFunc(nil)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
