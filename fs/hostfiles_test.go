package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mountinfoSample = `22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 28 0:45 / /home/a/my\040torrents ro,nosuid,nodev,relatime - fuse.weir weir ro,user_id=1000
41 28 0:46 / /home/a/b\134n\011t ro - fuse.weir a\040b ro
42 40 0:47 / /home/a/my\040torrents rw - tmpfs tmpfs rw
`

func TestParseMountinfo(t *testing.T) {
	got := parseMountinfo([]byte(mountinfoSample + "rubbish\n1 2 3 / /x rw - t s o\n1 2 a:b / /x rw - t s o\n1 2 3:4 / - t s\n"))
	want := []mountEntry{
		{22, 28, 0, 20, "/", "/sys", 7, 0, "sysfs", "sysfs", "rw,nosuid,nodev,noexec,relatime,rw"},
		{36, 35, 98, 0, "/mnt1", "/mnt2", 0, 1, "ext3", "/dev/root", "rw,noatime,rw,errors=continue"},
		{40, 28, 0, 45, "/", "/home/a/my torrents", 0, 0, "fuse.weir", "weir", "ro,nosuid,nodev,relatime,ro,user_id=1000"},
		{41, 28, 0, 46, "/", "/home/a/b\\n\tt", 0, 0, "fuse.weir", "a b", "ro,ro"},
		{42, 40, 0, 47, "/", "/home/a/my torrents", 0, 0, "tmpfs", "tmpfs", "rw,rw"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if e, ok := mountAt(got, "/home/a/my torrents"); !ok || e.minor != 47 {
		t.Errorf("the upper mount is seen: %+v", e)
	}
	if _, ok := mountAt(got, "/home"); ok {
		t.Error("found what is not mounted")
	}
}

// Where a mount is besides its mountpoint, and which of these places an unmount
// reaches.
func TestCopiesIn(t *testing.T) {
	ours := parseMountinfo([]byte(`20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 20 0:40 / /t ro - fuse.weir weir ro
31 20 0:40 /film /srv/film ro - fuse.weir weir ro
32 20 0:41 / /u ro - fuse.weir weir ro
33 20 0:40 / /v ro - tmpfs tmpfs ro
`))
	container := parseMountinfo([]byte(`50 49 0:60 / / rw - overlay overlay rw
51 50 0:40 / /data ro - fuse.weir weir ro
`))
	service := parseMountinfo([]byte(`60 1 8:1 / / rw master:1 - ext4 /dev/sda1 rw
61 60 0:40 / /t ro - fuse.weir weir ro
62 60 0:40 /film /srv/film ro - fuse.weir weir ro
`))
	private := parseMountinfo([]byte(`70 1 8:1 / / rw - ext4 /dev/sda1 rw
71 70 0:40 / /t ro - fuse.weir weir ro
`))
	peer := parseMountinfo([]byte(`80 1 8:1 /sub /x rw shared:1 - ext4 /dev/sda1 rw
81 80 0:40 / /x/t ro - fuse.weir weir ro
82 1 8:1 / /y rw shared:1 - ext4 /dev/sda1 rw
83 82 0:40 / /y/t ro - fuse.weir weir ro
`))
	type place struct {
		pid, id int
		goes    bool
	}
	var got []place
	for _, c := range copiesIn(ours[1], []mountNamespace{{0, ours}, {5, container}, {6, service}, {7, private}, {8, peer}, {9, private}}) {
		got = append(got, place{c.pid, c.id, c.goes})
	}
	want := []place{{0, 31, false}, {5, 51, false}, {6, 61, true}, {6, 62, false}, {7, 71, false}, {8, 81, false}, {8, 83, true}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte(mountinfoSample))
	f.Add([]byte(`1 1 1:1 / \04 a - b \777 c`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parseMountinfo(b) {
			if len(e.point) > len(b) || strings.Contains(e.fsType, " ") {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func TestParseStatus(t *testing.T) {
	status := func(state, thread, process, blocked, ignored string) []byte {
		return []byte("Name:\tcat\nState:\t" + state + "\nSigQ:\t0/1\nSigPnd:\t" + thread + "\nShdPnd:\t" + process +
			"\nSigBlk:\t" + blocked + "\nSigIgn:\t" + ignored + "\nSigCgt:\t0000000000000002\n")
	}
	const none, sigint, sigkill, sigchld = "0000000000000000", "0000000000000002", "0000000000000100", "0000000000010000"
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"Running", status("R (running)", none, none, none, none), false},
		{"Stuck", status("D (disk sleep)", none, none, none, none), false},
		{"StuckWithInt", status("D (disk sleep)", sigint, none, none, none), true},
		{"StuckWithIntOfProcess", status("D (disk sleep)", none, sigint, none, none), true},
		{"StuckKilled", status("D (disk sleep)", sigkill, none, none, none), true},
		{"StuckWithChild", status("D (disk sleep)", sigchld, none, none, none), false},
		{"IntBlocked", status("D (disk sleep)", none, sigint, sigint, none), false},
		{"IntIgnored", status("D (disk sleep)", none, sigint, none, sigint), false},
		{"AboutToHandle", status("S (sleeping)", sigint, none, none, none), false},
		{"Zombie", status("Z (zombie)", none, none, none, none), true},
		{"Rubbish", []byte("State:\nSigPnd: x"), false},
		{"Empty", nil, false},
	} {
		if got := parseStatus(tt.b).stopped(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestInterruptedInPassing(t *testing.T) {
	const urg, winch, sigint = 1 << (syscall.SIGURG - 1), 1 << (syscall.SIGWINCH - 1), 1 << (syscall.SIGINT - 1)
	for _, tt := range []struct {
		name string
		s    threadStatus
		want bool
	}{
		{"Nothing", threadStatus{}, false},
		{"Urgent", threadStatus{pending: urg}, true},
		{"Two", threadStatus{pending: urg | winch}, true},
		{"AndInt", threadStatus{pending: urg | sigint}, false},
		{"AndIntBlocked", threadStatus{pending: urg | sigint, blocked: sigint}, true},
		{"Blocked", threadStatus{pending: urg, blocked: urg}, false},
		{"Stop", threadStatus{pending: 1 << (syscall.SIGTSTP - 1)}, false},
		{"Unknown", threadStatus{pending: 1 << 40}, false},
	} {
		if got := tt.s.inPassing(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte("State:\tD (disk sleep)\nSigPnd:\t0000000000000002\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := parseStatus(b); s.stopped() && s.state != 'D' && s.state != 'Z' && s.state != 'X' {
			t.Fatalf("%+v is stopped", s)
		}
	})
}

func TestReaderStopped(t *testing.T) {
	if readerStopped(uint32(os.Getpid())) {
		t.Error("we are here")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if readerStopped(uint32(cmd.Process.Pid)) {
		t.Error("the child is there")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "a zombie is seen", func() bool { return readerStopped(uint32(cmd.Process.Pid)) })
	cmd.Wait()
	if !readerStopped(uint32(cmd.Process.Pid)) {
		t.Error("the child is gone")
	}
}

func TestKernelTimeout(t *testing.T) {
	s := time.Second
	for _, tt := range []struct{ def, most, limit, deadline time.Duration }{
		{0, 0, 0, 60 * s},
		{300 * s, 0, 300 * s, 60 * s},
		{60 * s, 0, 60 * s, 40 * s},
		{5 * s, 0, 15 * s, 10 * s},
		{0, 30 * s, 30 * s, 20 * s},
		{90 * s, 30 * s, 30 * s, 20 * s},
	} {
		limit := kernelTimeout(tt.def, tt.most)
		if got := deadlineBelow(60*s, limit); limit != tt.limit || got != tt.deadline {
			t.Errorf("%v, at most %v: limit %v, deadline %v", tt.def, tt.most, limit, got)
		}
	}
}

func TestOthersAllowed(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "fuse.conf")
	if othersAllowed(conf) {
		t.Error("without a file")
	}
	for text, want := range map[string]bool{"#user_allow_other\n": false, "mount_max = 5\n user_allow_other \n": true} {
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if othersAllowed(conf) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func TestUsersOf(t *testing.T) {
	dir := t.TempDir()
	if who := usersOf(dir); len(who) != 0 {
		t.Errorf("nobody: %q", who)
	}
	file, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if who := usersOf(dir); len(who) != 0 {
		t.Errorf("ourselves: %q", who)
	}
	other := exec.Command("cat")
	other.Dir = dir
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	who := usersOf(dir)
	if len(who) != 1 || !strings.Contains(who[0], "(process "+strconv.Itoa(other.Process.Pid)+")") {
		t.Errorf("cat: %q", who)
	}
	_ = in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSysctlMissing(t *testing.T) {
	if got := sysctl("no_such_setting"); got != 0 {
		t.Errorf("got %v", got)
	}
}
