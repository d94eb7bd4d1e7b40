package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine"
)

// tests runs the tests after weir was built for those that need a process of
// their own.
type tests struct{ *testing.M }

func (t tests) Run() int { return weirtest.Main(t.M) }

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"weir": main})
}

// TestScripts runs the command line as a user would: see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", "")
			env.Setenv("WEIR_DHT", "false")
			env.Setenv("WEIR_LSD", "false")
			dir := env.WorkDir
			env.Defer(func() {
				// What a script that failed has left mounted.
				mounts, _ := os.ReadFile("/proc/self/mountinfo")
				for line := range strings.Lines(string(mounts)) {
					if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir) {
						_ = exec.Command("fusermount3", "-u", "-z", f[4]).Run()
					}
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":      exits,
			"appear":     appear,
			"controlled": controlled,
		},
	})
}

// exits CODE PROGRAM ARG…: the program ends with just that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// appear PATH waits until there is something at a path.
func appear(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appear PATH")
	}
	path := ts.MkAbs(args[0])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(30 * time.Second); ; {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			ts.Fatalf("%s has not appeared", path)
		}
	}
}

// controlled DIR waits until a weir is mounted there that can be controlled.
func controlled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: controlled DIR")
	}
	dir := ts.MkAbs(args[0])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(30 * time.Second); ; {
		if _, err := api.Find(dir); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			ts.Fatalf("no weir is mounted on %s", dir)
		}
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]int64{
		"1":      1,
		"500MB":  500_000_000,
		"20GiB":  20 << 30,
		"1.5 GB": 1_500_000_000,
		"0":      -1,
		"-5":     -1,
		"":       -1,
		"many":   -1,
		"99EiB":  -1,
	} {
		var b byteSize
		err := b.Set(in)
		if want < 0 && err == nil {
			t.Errorf("Set(%q) = %d, want an error", in, b)
		} else if want >= 0 && (err != nil || int64(b) != want) {
			t.Errorf("Set(%q) = %d, %v, want %d", in, b, err, want)
		}
	}
}

func TestEncryption(t *testing.T) {
	for in, want := range map[string]engine.Encryption{
		"allowed":  engine.EncryptionAllowed,
		"required": engine.EncryptionRequired,
		"off":      engine.EncryptionOff,
	} {
		var e encryption
		if err := e.Set(in); err != nil || engine.Encryption(e) != want || e.String() != in {
			t.Errorf("Set(%q) = %v, %v, want %v", in, e.String(), err, want)
		}
	}
	var e encryption
	for _, in := range []string{"", "Off", "yes"} {
		if err := e.Set(in); err == nil {
			t.Errorf("Set(%q) = %v, want an error", in, e.String())
		}
	}
}

// TestEveryCommandIsDocumented holds each command to what its help must have.
func TestEveryCommandIsDocumented(t *testing.T) {
	root := newRoot()
	root.SetOut(io.Discard)
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Hidden {
			continue
		}
		if !strings.Contains(cmd.Long, "Exit codes:") {
			t.Errorf("%s: the help names no exit codes", cmd.CommandPath())
		}
		if !strings.Contains(cmd.Example, "  weir ") {
			t.Errorf("%s: the help has no example", cmd.CommandPath())
		}
	}
}
