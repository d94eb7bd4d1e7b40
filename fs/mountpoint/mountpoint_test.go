package mountpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const mountinfoSample = `22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 28 0:45 / /home/a/my\040torrents ro,nosuid,nodev,relatime - fuse.weir weir ro,user_id=1000
41 28 0:46 / /home/a/b\134n\011t ro - fuse.weir a\040b ro
42 40 0:47 / /home/a/my\040torrents rw - tmpfs tmpfs rw
`

func TestParseMountinfo(t *testing.T) {
	got := parseMountinfo([]byte(mountinfoSample + "rubbish\n1 2 3 / /x rw - t s o\n1 2 a:b / /x rw - t s o\n1 2 3:4 / - t s\n"))
	want := []entry{
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
		got = append(got, place{c.pid, c.id, c.unmounted})
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

func TestCheckDevice(t *testing.T) {
	err := checkDevice(filepath.Join(t.TempDir(), "fuse"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "modprobe fuse") {
		t.Errorf("no device: %v", err)
	}
}
