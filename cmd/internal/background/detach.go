package background

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// self returns the path of this program, whose name ps and pgrep show, or the kernel's link
// if its file was replaced.
func self() string {
	path, err := os.Executable()
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "/proc/self/exe"
	}
	return path
}

// maxLogBytes is how long a log may be when a new weir begins to write to it; a
// longer one is kept as FILE.old.
const maxLogBytes = 1 << 20

// DetachOptions say how to run a weir in the background. Args and LogFile are
// required.
type DetachOptions struct {
	Args    []string            // weir's arguments; one of them names ReadyFD
	LogFile string              // takes its standard output and error; its folder is made
	LogOurs bool                // the log is opened with our own rights and not As, and must not be a link then
	As      *syscall.Credential // the user that it runs as; nil: ours
	Environ []string            // nil: ours
}

// ReadyFD is the descriptor by which a detached weir says that it is ready.
const ReadyFD = 3

// Detached is a weir in the background whose mount is ready.
type Detached struct {
	PID   int
	Names []string // of the torrents' folders
}

// UsageError is what a detached weir says is wrong with its command line.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// Detach starts weir in a session of its own and returns when its mount is
// ready, or with the reason why it never will be. When ctx ends first, the
// process is ended too.
func Detach(ctx context.Context, o DetachOptions) (*Detached, error) {
	var log *os.File
	logAs, flags := o.As, 0
	if o.LogOurs {
		logAs = nil
		if o.As != nil {
			flags = syscall.O_NOFOLLOW
		}
	}
	err := As(logAs, func() (err error) {
		log, err = openLog(o.LogFile, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: self(), Args: append([]string{"weir"}, o.Args...), Env: o.Environ,
		Stdout: log, Stderr: log, ExtraFiles: []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: o.As},
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("start weir in the background: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	var n report
	if err == nil {
		err = json.Unmarshal(line, &n)
	}
	if err == nil && n.Error == "" {
		d := &Detached{PID: cmd.Process.Pid, Names: n.Names}
		return d, cmd.Process.Release()
	}
	// It is ending, and may have something to store first.
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case n.Usage:
		return nil, UsageError(n.Error)
	case n.Error != "":
		return nil, errors.New(n.Error)
	case ended == nil:
		return nil, fmt.Errorf("weir has ended before it was ready; its log is %s", o.LogFile)
	default:
		return nil, fmt.Errorf("weir has ended before it was ready (%w); its log is %s", ended, o.LogFile)
	}
}

// openLog opens the log for appending; flags are more of open(2).
func openLog(path string, flags int) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log: %w; name another file with --log-file", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > maxLogBytes {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
	}
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w; name another file with --log-file", err)
	}
	return log, nil
}

// PointName is a file name for what belongs to a mountpoint, such as mnt-linux
// for /mnt/linux.
func PointName(point string) string {
	name := strings.ReplaceAll(strings.Trim(filepath.Clean(point), "/"), "/", "-")
	if name == "" {
		return "root"
	}
	return name
}
