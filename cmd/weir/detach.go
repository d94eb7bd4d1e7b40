package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/background"
	"github.com/weirfs/weir/cmd/internal/config"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/cmd/internal/sandbox"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/fs/mountpoint"
)

// life is how a mount lives as a process: in the foreground or not, and who is
// told and who tidies up.
type life struct {
	detach      bool
	logFile     string
	autoUnmount bool
	sandbox     bool
	configFile  string
	readyFD     int // where a detached weir says that it is ready; 0: this one isn't

	helper  helperSettings
	as      *syscall.Credential // whose process a detached weir is; nil: ours
	logOurs bool                // the log is where root keeps them, and not where the options say
	environ []string            // of a detached weir; nil: ours
}

// readyFlag is how a weir tells the one that it starts in the background where
// to say that it is ready.
const readyFlag = "ready-fd"

// register adds the flags.
func (l *life) register(f *pflag.FlagSet) {
	f.StringVar(&l.configFile, config.FileFlag, "", "read settings from `FILE` (default ~/.config/weir/config.yaml, else /etc/weir/config.yaml)")
	f.BoolVarP(&l.detach, "detach", "d", false, "run in the background: return as soon as the mount is ready")
	f.StringVar(&l.logFile, "log-file", "", "with --detach, write the log to `FILE` (default in ~/.local/state/weir)")
	f.BoolVar(&l.autoUnmount, "auto-unmount", true, "remove the mount when weir is killed; a second, idle process waits for that")
	f.BoolVar(&l.sandbox, "sandbox", true, "once mounted, give up access to all files that weir doesn't need; needs --auto-unmount")
	f.IntVar(&l.readyFD, readyFlag, 0, "")
	if err := f.MarkHidden(readyFlag); err != nil {
		panic(err)
	}
	l.helper.register(f)
	config.CommandLineOnly(f, "detach", readyFlag, helperFlag, setuidFlag, fsnameFlag)
}

// start runs the same command in the background and says what became of it.
func (l *life) start(cmd *cobra.Command, args []string) error {
	point, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	l.helper.settle(cmd, l, point)
	if l.logFile == "" {
		if l.logFile, err = stateFile(background.PointName(point) + ".log"); err != nil {
			return err
		}
	}
	d, err := background.Detach(cmd.Context(), background.DetachOptions{
		Args: l.again(commandLine(cmd.Context())), LogFile: l.logFile, LogOurs: l.logOurs, As: l.as, Environ: l.environ,
	})
	var usage background.UsageError
	if errors.As(err, &usage) {
		return usageError{err, cmd.CommandPath()}
	}
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "mounted on %s by process %d, log in %s; weir umount ends it:\n", weir.Printable(args[0]), d.PID, weir.Printable(l.logFile))
	for _, name := range d.Names {
		fmt.Fprintf(out, "  %s\n", weir.Printable(name))
	}
	return nil
}

// again returns the arguments for the same command in another process, which
// finds the same settings by itself.
func (l *life) again(args []string) []string {
	list := []string{args[0], fmt.Sprintf("--%s=%d", readyFlag, background.ReadyFD)}
	list = append(list, l.helper.defaults...)
	return append(list, args[1:]...)
}

// stateFile is where weir keeps a file that nobody needs but who looks for a
// mistake, as the XDG specification has it.
func stateFile(name string) (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "weir", name), nil
	}
	home, err := os.UserHomeDir()
	switch {
	case err == nil:
		return filepath.Join(home, ".local", "state", "weir", name), nil
	case os.Geteuid() == 0: // at boot there is no HOME
		return filepath.Join("/var/log/weir", name), nil
	}
	return "", fmt.Errorf("no place for the log: name one with --log-file FILE: %w", err)
}

// attendance is who looks after one mount while it lives.
type attendance struct {
	detached bool
	notifier *background.ReadyNotifier
	guard    *background.Guard // nil: nobody asked for one
	log      *slog.Logger
}

// attend begins to look after a mount that is about to be made.
func (l *life) attend(ctx context.Context, dir string, log *slog.Logger) *attendance {
	point, err := filepath.Abs(dir)
	if err != nil {
		point = dir
	}
	a := &attendance{detached: l.readyFD > 0, notifier: background.NewReadyNotifier(l.readyFD, point, log), log: log}
	if l.autoUnmount {
		a.guard, err = background.StartGuard(ctx, point, log)
		if err != nil {
			// What is wrong with the mountpoint is reported by who mounts on it.
			log.Debug("no guard for the mount", "err", err)
		}
	}
	return a
}

// unmounter returns what unmounts for a weir that has given up its rights: the guard,
// which was started before. It is nil where they are not given up.
func (l *life) unmounter(a *attendance, point string) fs.Unmounter {
	if !l.sandbox || a.guard == nil {
		return nil
	}
	return &guarded{a, point}
}

// guarded unmounts by the guard, and when that is gone by itself: perhaps this kernel
// has no sandbox.
type guarded struct {
	*attendance
	point string
}

func (g *guarded) Unmount(lazy bool) error {
	err := g.guard.Unmount(lazy)
	if err == nil || errors.Is(err, weir.ErrInUse) {
		return err
	}
	g.log.Debug("unmount by the guard", "err", err)
	return mountpoint.Unmount(context.Background(), g.point, lazy)
}

func (g *guarded) Abort() error { return g.guard.Abort() }

// restrict gives up what is not needed any more once all is mounted. The paths in served are
// needed.
func (l *life) restrict(a *attendance, o daemon.Options, served []string) {
	if l.sandbox && a.guard != nil {
		enterSandbox(o, served, "/sys/fs/fuse/connections")
	}
}

// enterSandbox gives up what a daemon with these options does not need once it serves. The paths
// in served are needed, and those in write are written, too.
func enterSandbox(o daemon.Options, served []string, write ...string) {
	paths := sandbox.Paths{
		Write: append(write, o.CacheDir),
		Read:  slices.Concat(o.Watch, o.ServeFrom, served),
	}
	if o.Control != "" {
		paths.Write = append(paths.Write, filepath.Dir(o.Control))
	}
	began := time.Now()
	if err := sandbox.Restrict(paths); err != nil {
		o.Log.Debug("no sandbox", "err", err)
		return
	}
	o.Log.Debug("in the sandbox", "took", time.Since(began))
}

// ready says that the mount can be used.
func (a *attendance) ready(names []string) {
	a.guard.Mounted()
	if a.detached {
		// What was named by a relative path has been read. In the background weir
		// must not keep a disk busy just because it was called there.
		if err := os.Chdir("/"); err != nil {
			a.log.Debug("leave the working folder", "err", err)
		}
	}
	a.notifier.Ready(names)
}

// end says how the mount ended, once it is gone.
func (a *attendance) end(err error) {
	if err != nil {
		var u usageError
		a.notifier.Failed(err, errors.As(err, &u))
	}
	a.notifier.Close()
	if err != nil {
		// The guard looks, once this process is gone, whether it has left a mount.
		a.guard.Mounted()
		return
	}
	a.guard.Dismiss()
}

// newGuard is the process beside weir that outlives it: see background.Guard.
func newGuard() *cobra.Command {
	return &cobra.Command{
		Use:    background.GuardCommand + " DIR",
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1), "one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			under := os.NewFile(background.GuardFD, "mountpoint")
			if _, err := under.Stat(); err != nil {
				return errors.New("guard is for weir itself: weir mount starts it")
			}
			var pipe io.Reader = os.Stdin
			return background.RunGuard(pipe, os.NewFile(background.AnswerFD, "answers"), under, args[0])
		},
	}
}
