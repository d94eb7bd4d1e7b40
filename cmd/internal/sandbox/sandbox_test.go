package sandbox_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/sandbox"
)

// TestMain also plays the process that goes into the sandbox, as there is no way out.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_TEST"); dir != "" {
		os.Exit(inside(dir))
	}
	os.Exit(m.Run())
}

// inside prints what can't be done that should, and the other way round.
func inside(dir string) int {
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := sandbox.Restrict(sandbox.Paths{Write: []string{at("cache"), at("missing")}, Read: []string{at("watch"), at("file")}}); err != nil {
		os.Stdout.WriteString(err.Error())
		return 1
	}
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	write := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	for name, c := range map[string]struct {
		err error
		ok  bool
	}{
		"write to the cache":            {write(at("cache/x")), true},
		"make a folder":                 {os.Mkdir(at("cache/d"), 0o700), true},
		"rename in the cache":           {os.Rename(at("cache/x"), at("cache/d/y")), true},
		"remove":                        {os.RemoveAll(at("cache/d")), true},
		"read a watched folder":         {read(at("watch/t")), true},
		"write to it":                   {write(at("watch/u")), false},
		"read a file":                   {read(at("file")), true},
		"read another":                  {read(at("secret")), false},
		"read by a link":                {read(at("cache/link")), false},
		"make one beside":               {write(at("new")), false},
		"read how names are looked up":  {read("/etc/passwd"), true},
		"read the kernel's table":       {read("/proc/self/mountinfo"), true},
		"write what is thrown away":     {write("/dev/null"), true},
		"write to the system":           {write("/etc/weir-test"), false},
		"read it in a folder of root's": {read("/root/.bashrc"), false},
	} {
		if c.ok != (c.err == nil) || c.err != nil && !errors.Is(c.err, fs.ErrPermission) && !errors.Is(c.err, fs.ErrNotExist) {
			os.Stdout.WriteString(name + ": " + errText(c.err) + "\n")
		}
	}
	return 0
}

func errText(err error) string {
	if err == nil {
		return "it worked"
	}
	return err.Error()
}

func TestRestrict(t *testing.T) {
	if lsm, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil && !strings.Contains(string(lsm), "landlock") {
		t.Skip("this kernel has no Landlock")
	}
	dir := t.TempDir()
	for _, d := range []string{"cache", "watch"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"watch/t", "file", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "cache", "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SANDBOX_TEST="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
