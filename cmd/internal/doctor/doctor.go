// Package doctor checks a machine for what weir needs: the kernel's FUSE and
// its helper, limits, the port, the clock, the cache's folder. Each finding says
// what to do next. It changes nothing and uses no network.
//
// What must not live here: repairing anything.
package doctor

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels. With Fail weir won't work as configured; with Warn it will, but something
// is slower or missing.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"` // one word
	Level Level  `json:"level"`
	Text  string `json:"text"`           // what is
	Next  string `json:"next,omitempty"` // what to do about it; always there unless Level is OK
}

// Options are the settings that are checked, and the machine. CacheDir is
// required.
type Options struct {
	CacheDir    string
	CacheBytes  int64         // bound of the cache; 0: its default
	Listen      string        // as weir mount's flag
	AllowOther  bool          // as weir mount's flag
	ReadTimeout time.Duration // as weir mount's flag

	// The machine; New fills these in. Tests have others.
	Root     string // prefix of /etc, /proc and /dev
	EUID     int
	Now      time.Time
	Program  string // the file of this program, whose time the clock is compared with
	LookPath func(string) (string, error)
}

// New returns Options for this machine.
func New() Options {
	program, err := os.Executable()
	if err != nil {
		program = "/proc/self/exe"
	}
	return Options{Root: "/", EUID: os.Geteuid(), Now: time.Now(), Program: program, LookPath: exec.LookPath}
}

// Run makes all checks, in the order in which a mount would meet them. It takes at most
// a few seconds, when a mount doesn't answer.
func Run(ctx context.Context, o Options) []Finding {
	var found []Finding
	for _, check := range []func(context.Context, Options) Finding{
		checkKernel, checkDevice, checkHelper, checkOthers, checkTimeout, checkMounts,
		checkFiles, checkMemory, checkListen, checkClock, checkCache, checkSpace, checkFileSystem,
	} {
		if f := check(ctx, o); f.Check != "" {
			found = append(found, f)
		}
	}
	return found
}

// path returns the name of a file of the machine.
func (o Options) path(name string) string { return filepath.Join(o.Root, name) }

// read returns the beginning of a small file, "" if there is none.
func (o Options) read(name string) string {
	f, err := os.Open(o.path(name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return ""
	}
	return string(b)
}

// local makes a wildcard address one of this machine.
func local(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
