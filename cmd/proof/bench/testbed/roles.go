package testbed

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/weirfs/weir/cmd/proof/bench/link"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
)

// RunRole does this process's work if it is one that a run has started from
// itself, and reports whether it was.
func RunRole(stdin io.Reader, stdout io.Writer) (bool, error) {
	conn := pipe{stdin, nopCloser{stdout}}
	switch os.Getenv(roleEnv) {
	case roleLine:
		return true, link.Serve(conn, 3, 4)
	case roleFar:
		return true, serveFar(conn)
	}
	return false, nil
}

// serveFar is the remote hosts at the far end. It ends with its connection.
func serveFar(conn pipe) error {
	r := bufio.NewReader(conn.Reader)
	first, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	own, data, ok := strings.Cut(strings.TrimSuffix(first, "\n"), " ")
	if !ok {
		return fmt.Errorf("the far end was told %q", first)
	}
	s, err := remotehosts.Open(farSite(data, own == "true"))
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Serve(pipe{r, conn.WriteCloser})
}

// nopCloser is standard output, which ends with the process.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
