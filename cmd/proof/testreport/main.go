// Command testreport runs go test -json and prints a summary: a line for each package,
// the whole output of each test that failed, and at the end how many tests passed and
// failed, and which were skipped. Its exit code is go test's.
//
//	testreport go test -json ./...
//	testreport -in .,tools go test -json ./...
//
// With -in, a list of folders, the command runs in each of them in turn, even if it
// failed in the one before; the last line counts the tests of all. With -v among the
// arguments it prints the output of tests that passed too. It knows nothing of weir.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run runs a command, in one folder or several, and reports on what it prints. It
// returns the exit code of the first that failed, 128 and the number of the signal
// that ended it, or 2 if it could not be run.
func run(args []string, stdout, stderr io.Writer) int {
	folders := []string{"."}
	if len(args) > 1 && args[0] == "-in" {
		folders = strings.Split(args[1], ",")
		args = args[2:]
	}
	if len(args) == 0 {
		fmt.Fprintln(stderr, "usage: testreport [-in FOLDER,...] go test -json [flags] [packages]")
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	r := newReport(stdout, slices.Contains(args, "-v"))
	code := 0
	for _, folder := range folders {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = folder
		cmd.Stderr = stderr
		c, stopped, err := follow(cmd, r, signals)
		if err != nil {
			fmt.Fprintln(stderr, "testreport:", err)
		}
		if code == 0 {
			code = c
		}
		if stopped {
			break
		}
	}
	r.end(code)
	return code
}

// follow runs one command and reports on what it prints. It passes signals on, and
// reports whether there was one.
func follow(cmd *exec.Cmd, r *report, signals <-chan os.Signal) (code int, stopped bool, err error) {
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 2, false, err
	}
	read := make(chan struct{})
	passed := make(chan bool)
	go func() {
		any := false
		for {
			select {
			case s := <-signals:
				any = true
				_ = cmd.Process.Signal(s) // its end is ours: what has come until then is reported
			case <-read:
				passed <- any
				return
			}
		}
	}()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			break
		}
	}
	code = exitCode(cmd.Wait())
	close(read)
	return code, <-passed, nil
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	}
	return 2
}
