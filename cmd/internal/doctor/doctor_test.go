package doctor_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/doctor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is one that has nothing wrong with it, on paper.
type machine struct {
	doctor.Options
	dir string
}

func newMachine(tb testing.TB) *machine {
	tb.Helper()
	dir := tb.TempDir()
	m := &machine{dir: dir, Options: doctor.New()}
	m.Root = filepath.Join(dir, "root")
	m.Options.EUID = 1000
	m.CacheDir = filepath.Join(dir, "home", "cache")
	m.Listen, m.ReadTimeout = "127.0.0.1:0", time.Minute
	for name, text := range map[string]string{
		"proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
		"proc/meminfo":              "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n",
		"proc/self/mounts":          "proc /proc proc rw 0 0\n",
		"proc/self/status":          "Name:\tweir\nNoNewPrivs:\t0\n",
		"dev/fuse":                  "",
		"etc/fuse.conf":             "# user_allow_other\n",
		"bin/fusermount3":           "",
	} {
		m.write(tb, name, text)
	}
	helper := filepath.Join(m.Root, "bin/fusermount3")
	if err := os.Chmod(helper, 0o755|os.ModeSetuid); err != nil {
		tb.Fatal(err)
	}
	m.LookPath = func(string) (string, error) { return helper, nil }
	return m
}

func (m *machine) write(tb testing.TB, name, text string) {
	tb.Helper()
	path := filepath.Join(m.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// finding returns what one check says.
func (m *machine) finding(tb testing.TB, check string) doctor.Finding {
	tb.Helper()
	for _, f := range doctor.Run(tb.Context(), m.Options) {
		if f.Check == check {
			return f
		}
	}
	tb.Fatalf("there is no check %q", check)
	return doctor.Finding{}
}

func TestChecks(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct {
		spoil func(tb testing.TB, m *machine)
		check string
		want  doctor.Level
		says  string
	}{
		"Kernel":            {nil, "kernel", doctor.OK, "6.1.0"},
		"Old kernel":        {files("proc/sys/kernel/osrelease", "4.19.0\n"), "kernel", doctor.Warn, "older"},
		"Strange kernel":    {files("proc/sys/kernel/osrelease", "x\n"), "kernel", doctor.Warn, "version"},
		"Device":            {nil, "device", doctor.OK, ""},
		"No device":         {func(tb testing.TB, m *machine) { remove(tb, m, "dev/fuse") }, "device", doctor.Fail, "modprobe fuse"},
		"No helper":         {func(_ testing.TB, m *machine) { m.LookPath = missing }, "helper", doctor.Fail, "apt-get install fuse3"},
		"Helper, root":      {func(tb testing.TB, m *machine) { m.EUID = 0; chmod(tb, m, "bin/fusermount3", 0o755) }, "helper", doctor.OK, ""},
		"Helper, not setid": {func(tb testing.TB, m *machine) { chmod(tb, m, "bin/fusermount3", 0o755) }, "helper", doctor.Fail, "chmod u+s"},
		"Others":            {nil, "others", doctor.OK, "only you"},
		"Others, wanted":    {func(_ testing.TB, m *machine) { m.AllowOther = true }, "others", doctor.Fail, "add the line user_allow_other"},
		"Others, allowed":   {files("etc/fuse.conf", " user_allow_other \n"), "others", doctor.OK, "has user_allow_other"},
		"Others, root":      {func(_ testing.TB, m *machine) { m.EUID, m.AllowOther = 0, true }, "others", doctor.OK, "root"},
		"No timeout":        {files("proc/sys/fs/fuse/default_request_timeout", "0\n"), "timeout", doctor.OK, "no limit"},
		"Long timeout":      {files("proc/sys/fs/fuse/default_request_timeout", "600\n"), "timeout", doctor.OK, "600 s"},
		"Short timeout":     {files("proc/sys/fs/fuse/max_request_timeout", "30\n"), "timeout", doctor.Warn, "will wait 20s and not 1m0s"},
		"No mounts":         {nil, "mounts", doctor.OK, "no weir"},
		"A mount":           {files("proc/self/mounts", "x / fuse.weir ro 0 0\n"), "mounts", doctor.OK, "answering: /"},
		"Memory":            {nil, "memory", doctor.OK, "3.8 GiB"},
		"Little memory":     {files("proc/meminfo", "MemAvailable: 100000 kB\n"), "memory", doctor.Warn, "GOMEMLIMIT"},
		"No memory":         {files("proc/meminfo", "MemAvailable: lots\n"), "memory", doctor.Warn, "/proc"},
		"Files":             {nil, "files", doctor.OK, ""},
		"Any port":          {nil, "listen", doctor.OK, "fix it"},
		"No port":           {func(_ testing.TB, m *machine) { m.Listen = "off" }, "listen", doctor.Warn, "no peer can reach"},
		"Port in use":       {func(_ testing.TB, m *machine) { m.Listen = busy.Addr().String() }, "listen", doctor.Fail, "--listen :0"},
		"Port of weir": {func(tb testing.TB, m *machine) {
			m.Listen = busy.Addr().String()
			m.write(tb, "proc/self/mounts", "x / fuse.weir ro 0 0\n")
		}, "listen", doctor.Warn, "mounted on /"},
		"Wrong address":  {func(_ testing.TB, m *machine) { m.Listen = "192.0.2.1:0" }, "listen", doctor.Fail, "an address of this machine"},
		"Clock":          {nil, "clock", doctor.OK, ""},
		"Clock behind":   {func(_ testing.TB, m *machine) { m.Now = time.Unix(0, 0) }, "clock", doctor.Fail, "before weir was installed"},
		"Clock ahead":    {func(_ testing.TB, m *machine) { m.Now = m.Now.AddDate(30, 0, 0) }, "clock", doctor.Warn, "timedatectl"},
		"New cache":      {nil, "cache", doctor.OK, "will be made"},
		"Cache":          {func(tb testing.TB, m *machine) { makeCache(tb, m) }, "cache", doctor.OK, "no weir uses it"},
		"Cache, a file":  {func(_ testing.TB, m *machine) { m.CacheDir = filepath.Join(m.Root, "etc/fuse.conf") }, "cache", doctor.Fail, "is a file"},
		"Cache below it": {func(_ testing.TB, m *machine) { m.CacheDir = filepath.Join(m.Root, "etc/fuse.conf/x") }, "cache", doctor.Fail, "--cache"},
		"Space":          {nil, "space", doctor.OK, "are free"},
		"Too large":      {func(_ testing.TB, m *machine) { m.CacheBytes = 1 << 60 }, "space", doctor.Warn, "less than --cache-size"},
		"Memory disk":    {func(_ testing.TB, m *machine) { m.CacheDir = "/dev/shm/weir" }, "disk", doctor.Warn, "tmpfs"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if c.spoil != nil {
				c.spoil(t, m)
			}
			f := m.finding(t, c.check)
			if f.Level != c.want || !strings.Contains(f.Text+" → "+f.Next, c.says) {
				t.Errorf("%s: %s → %s; want %s and %q", f.Level, f.Text, f.Next, c.want, c.says)
			}
			if f.Text == "" || (f.Next == "") != (f.Level == doctor.OK) && f.Next == "" {
				t.Errorf("there is no next step: %+v", f)
			}
		})
	}
}

func missing(string) (string, error) { return "", errors.New("not found") }

func files(name, text string) func(testing.TB, *machine) {
	return func(tb testing.TB, m *machine) { m.write(tb, name, text) }
}

func remove(tb testing.TB, m *machine, name string) {
	tb.Helper()
	if err := os.Remove(filepath.Join(m.Root, name)); err != nil {
		tb.Fatal(err)
	}
}

func chmod(tb testing.TB, m *machine, name string, mode os.FileMode) {
	tb.Helper()
	if err := os.Chmod(filepath.Join(m.Root, name), mode); err != nil {
		tb.Fatal(err)
	}
}

func makeCache(tb testing.TB, m *machine) *os.File {
	tb.Helper()
	if err := os.MkdirAll(m.CacheDir, 0o700); err != nil {
		tb.Fatal(err)
	}
	f, err := os.Create(filepath.Join(m.CacheDir, "owner"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

func TestCacheInUse(t *testing.T) {
	m := newMachine(t)
	lock := makeCache(t, m)
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                "another weir",
		`{"pid":7}`:                       "process id 7",
		`{"pid":7,"mountpoint":"/mnt/x"}`: "process id 7, mounted on /mnt/x",
	} {
		if err := errors.Join(lock.Truncate(0), writeAt(lock, text)); err != nil {
			t.Fatal(err)
		}
		if f := m.finding(t, "cache"); f.Level != doctor.Warn || !strings.HasSuffix(f.Text, want) {
			t.Errorf("%s: %s, want %q", f.Level, f.Text, want)
		}
	}
	// Looking must not have taken the lock away.
	other, err := os.Open(lock.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("the lock can be taken: %v", err)
	}
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// TestNoNewPrivileges is about a sandbox in which set-user-ID has no effect.
func TestNoNewPrivileges(t *testing.T) {
	m := newMachine(t)
	helper := filepath.Join(m.Root, "bin/fusermount3")
	if os.Geteuid() != 0 {
		m.LookPath = func(string) (string, error) { return "/bin/su", nil } // is root's and set-user-ID everywhere
		helper = "/bin/su"
	}
	if f := m.finding(t, "helper"); f.Level != doctor.OK {
		t.Fatalf("%s: %+v", helper, f)
	}
	m.write(t, "proc/self/status", "NoNewPrivs:\t1\n")
	if f := m.finding(t, "helper"); f.Level != doctor.Fail || !strings.Contains(f.Next, "NoNewPrivileges=") {
		t.Errorf("%+v", f)
	}
}
