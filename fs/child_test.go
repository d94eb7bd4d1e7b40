package fs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Tests start the test program again as a child for what must be another
// process: a reader to kill, or a weir that crashes.
const childEnv = "WEIR_FS_TEST_CHILD"

// runAsChild does the work of a child process, if this is one.
func runAsChild() bool {
	arg := os.Getenv(childEnv + "_ARG")
	switch os.Getenv(childEnv) {
	case "":
		return false
	case "read":
		fmt.Println("ready")
		b, err := os.ReadFile(arg)
		fmt.Println(len(b), err)
	case "hold":
		file, err := os.Open(arg)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer file.Close()
		fmt.Println("ready")
		bufio.NewReader(os.Stdin).ReadByte()
	case "serve":
		f := New(Options{Mountpoint: arg})
		if _, err := f.Add("crashed", NewFakeTorrent(FakeInfo("crashed", FakeFile{Path: "f", Length: 5}))); err != nil {
			panic(err)
		}
		if err := f.Mount(); err != nil {
			panic(err)
		}
		fmt.Println("ready")
		if err := f.Serve(context.Background()); err != nil {
			panic(err)
		}
	}
	return true
}

// StartChild starts a child process and returns when it is ready. It ends at the
// end of the test at the latest.
func StartChild(tb testing.TB, work, arg string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+work, childEnv+"_ARG="+arg)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		tb.Fatalf("child %s %s: %q, %v", work, arg, line, err)
	}
	return cmd
}
