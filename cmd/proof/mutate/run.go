package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Verdict is the result of the tests of a mutant.
type Verdict string

// The verdicts.
const (
	Killed   Verdict = "killed"
	TimedOut Verdict = "timeout" // killed, too: the tests did not end
	Survived Verdict = "survived"
)

const (
	// patience is how many times longer than without a mutant the tests may take.
	patience = 6
	// leastTime is the least that they get: other programs may keep the machine busy.
	leastTime = 15 * time.Second
	// memory is the most address space that a test may take, in KiB: a mutant of
	// a loop may allocate without end.
	memory = 6 << 20
)

// errUnbuilt is a package that the compiler refuses.
var errUnbuilt = errors.New("does not compile")

// Runner runs the tests of one package.
type Runner struct {
	root    string // of the module
	target  Target
	room    string // a folder of its own
	timeout time.Duration
	batch   *Batch
	checker *Checker
}

// NewRunner builds the tests with all the mutants and runs them without any: they
// must pass, and tell how long they take.
func NewRunner(ctx context.Context, root string, t Target, c *Checker, mutants []*Mutant, room string) (*Runner, error) {
	r := &Runner{root: root, target: t, room: room, timeout: 10 * time.Minute, checker: c}
	var err error
	if r.batch, err = newBatch(t.Dir, mutants, c.original); err != nil {
		return nil, err
	}
	if err := r.build(ctx, r.batch.Replace, "all"); err != nil {
		return nil, err
	}
	begin := time.Now()
	v, err := r.run(ctx, "all", 0)
	if err != nil {
		return nil, err
	}
	if v != Survived {
		return nil, fmt.Errorf("the tests of %s without a mutant: %s", t.Dir, v)
	}
	r.timeout = max(leastTime, patience*time.Since(begin))
	return r, nil
}

// Test runs the tests with a mutant.
func (r *Runner) Test(ctx context.Context, m *Mutant) (Verdict, error) {
	if n := r.batch.Number(m); n > 0 {
		return r.run(ctx, "all", n)
	}
	switch err := r.build(ctx, map[string][]byte{m.File: r.checker.Source(m)}, "one"); {
	case errors.Is(err, errUnbuilt):
		return Killed, nil // by its own test files, which need the package as it is
	case err != nil:
		return "", err
	}
	return r.run(ctx, "one", 0)
}

// build builds a test binary with other sources in the place of some files.
// Nothing is written into the module.
func (r *Runner) build(ctx context.Context, sources map[string][]byte, binary string) error {
	replace := map[string]string{}
	for name, src := range sources {
		changed := filepath.Join(r.room, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(changed, src, 0o600); err != nil {
			return err
		}
		replace[filepath.Join(r.root, name)] = changed
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := filepath.Join(r.room, "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-ldflags", "-s -w", "-o", filepath.Join(r.room, binary), "./"+r.target.Dir)
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return fmt.Errorf("the tests of %s: %w: %s", r.target.Dir, errUnbuilt, out)
	}
	return nil
}

// run runs a test binary where go test would, in a process group of its own.
func (r *Runner) run(ctx context.Context, binary string, mutant int) (Verdict, error) {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	script := fmt.Sprintf(`ulimit -v %d; exec "$0" -test.failfast -test.run "$1"`, memory)
	cmd := exec.CommandContext(limited, "/bin/sh", "-c", script, filepath.Join(r.room, binary), r.target.Tests)
	cmd.Dir = filepath.Join(r.root, r.target.Dir)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mutantEnv, mutant))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Survived, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case limited.Err() != nil:
		return TimedOut, nil
	case errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
		return Killed, nil
	}
	return "", err
}
