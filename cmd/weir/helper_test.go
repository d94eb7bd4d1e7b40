package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

func TestIsHelperCall(t *testing.T) {
	for line, want := range map[string]bool{
		"/sbin/mount.fuse.weir x /mnt":                true,
		"mount.weir x /mnt -o ro":                     true,
		"weir magnet:?xt=1 /mnt -o rw,dev,suid":       true, // what mount.fuse runs
		"weir mount /mnt -o x":                        false,
		"weir mount /mnt x":                           false,
		"weir -o a b":                                 false,
		"weir --help":                                 false,
		"weir":                                        false,
		"/usr/local/bin/weir x.torrent /mnt":          false,
		"weir guard /mnt -o x":                        false,
		"/usr/local/bin/weir ./mount.torrent /m -o r": true,
	} {
		f := strings.Fields(line)
		if got := isHelperCall(f[0], f[1:]); got != want {
			t.Errorf("isHelperCall(%q) = %v, want %v", line, got, want)
		}
	}
}

// TestHelperArgs looks at the weir command line that becomes of mount(8)'s.
func TestHelperArgs(t *testing.T) {
	const begin = "mount --detach --as-helper "
	for name, c := range map[string]struct {
		args []string
		want string // command line, or
		err  string // what the error says

		restrict uintptr
	}{
		"Plain":       {[]string{"x.torrent", "/mnt"}, begin + "--fsname=x.torrent -- /mnt x.torrent", "", 0},
		"As mount":    {[]string{"x", "/mnt", "-t", "fuse.weir", "-o", "rw,noexec,nosuid,nodev,noauto,nofail,_netdev,user,x-systemd.requires=network-online.target,X-x,comment=a"}, begin + "--fsname=x -- /mnt x", "", unix.MS_NOEXEC},
		"Read-only":   {[]string{"x", "/mnt", "-o", "ro"}, begin + "--fsname=x -- /mnt x", "", unix.MS_RDONLY},
		"Read-only 2": {[]string{"-r", "x", "/mnt"}, begin + "--fsname=x -- /mnt x", "", unix.MS_RDONLY},
		"Flags":       {[]string{"-sv", "x", "/mnt", "-n", "-N", "ns"}, begin + "--fsname=x -- /mnt x", "", 0},
		"Settings":    {[]string{"x", "/mnt", "-o", "cache=/c,cache_size=1GiB,read-timeout=5s,uid=7,gid=8,allow_other"}, begin + "--cache=/c --cache-size=1GiB --read-timeout=5s --uid=7 --gid=8 --allow-other=true --fsname=x -- /mnt x", "", 0},
		"Values":      {[]string{"x", "/mnt", "-o", "dht=false,peer=a:1,peer=b:2"}, begin + "--dht=false --peer=a:1 --peer=b:2 --fsname=x -- /mnt x", "", 0},
		"Joined":      {[]string{"x", "/mnt", "-oro", "-o", "dht=false"}, begin + "--dht=false --fsname=x -- /mnt x", "", unix.MS_RDONLY},
		"Quoted":      {[]string{"x", "/mnt", "-o", `cache="/a,b",ro`}, begin + "--cache=/a,b --fsname=x -- /mnt x", "", unix.MS_RDONLY},
		"More":        {[]string{"x", "/mnt", "-o", "torrent=y,torrent=z"}, begin + "--fsname=x -- /mnt x y z", "", 0},
		"None":        {[]string{"none", "/mnt", "-o", "config=/c.yaml"}, begin + "--config=/c.yaml --fsname=none -- /mnt", "", 0},
		"User":        {[]string{"x", "/mnt", "-o", "setuid=somebody"}, begin + "--setuid=somebody --fsname=x -- /mnt x", "", 0},
		"Fsname":      {[]string{"x", "/mnt", "-o", "fsname=films"}, begin + "--fsname=films -- /mnt x", "", 0},
		"Dashes":      {[]string{"x", "--help", "/mnt"}, "", "unknown flag --", 0},
		"Unknown":     {[]string{"x", "/mnt", "-o", "cach=/c"}, "", `unknown option "cach", did you mean cache?`, 0},
		"Lists them":  {[]string{"x", "/mnt", "-o", "zzz"}, "", " cache_size ", 0},
		"Sloppy":      {[]string{"-s", "x", "/mnt", "-o", "cach=/c"}, begin + "--fsname=x -- /mnt x", "", 0},
		"Invocation":  {[]string{"x", "/mnt", "-o", "detach"}, "", `unknown option "detach"`, 0},
		"Hidden":      {[]string{"x", "/mnt", "-o", "ready_fd=5"}, "", `unknown option "ready_fd"`, 0},
		"No value":    {[]string{"x", "/mnt", "-o", "cache_size"}, "", "option cache_size needs a value, such as cache_size=SIZE", 0},
		"One name":    {[]string{"x", "-o", "ro"}, "", "want SOURCE DIR -o OPTIONS, got 1 names", 0},
		"No options":  {[]string{"x", "/mnt", "-o"}, "", "-o needs a value", 0},
		"Long magnet": {[]string{"magnet:" + strings.Repeat("x", 4000), "/mnt"},
			begin + "-- /mnt magnet:" + strings.Repeat("x", 4000), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := parseHelperArgs(c.args)
			if err == nil {
				err = call.translate()
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(call.args, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if call.restrict != c.restrict {
				t.Errorf("it is restricted by %#x, want %#x", call.restrict, c.restrict)
			}
		})
	}
}

func FuzzHelperArgs(f *testing.F) {
	f.Add("x\x00/mnt\x00-o\x00cache=\"/a,b\",ro,torrent=y")
	f.Add("-sfnv\x00x\x00/mnt\x00-t\x00fuse.weir\x00-oro")
	f.Fuzz(func(t *testing.T, line string) {
		call, err := parseHelperArgs(strings.Split(line, "\x00"))
		if err != nil || call.translate() != nil {
			return
		}
		// What is named can't become a flag, nor a flag what is named.
		end := slices.Index(call.args, "--")
		if end < 0 || len(call.args) < end+2 || call.args[end+1] != call.dir {
			t.Fatalf("got %q from %q", call.args, line)
		}
		for _, arg := range call.args[1:end] {
			if !strings.HasPrefix(arg, "--") {
				t.Errorf("%q stands among the flags: %q", arg, call.args)
			}
		}
	})
}

// TestHelperFails looks at exit codes of mount(8).
func TestHelperFails(t *testing.T) {
	for name, c := range map[string]struct {
		want int
		args []string
	}{
		"Usage":   {helperUsage, []string{"x", "/mnt", "-o", "zzz"}},
		"Value":   {helperUsage, []string{"x", t.TempDir(), "-o", "cache_size=much,cache=/x"}},
		"Failure": {helperFailure, []string{"missing.torrent", t.TempDir(), "-o", "cache=" + t.TempDir() + ",log_file=" + filepath.Join(t.TempDir(), "log")}},
		"Fake":    {exitOK, []string{"missing.torrent", "/mnt", "-f"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			got := mountHelper(t.Context(), c.args, io.Discard, &stderr)
			if got != c.want || got != 0 && !strings.HasPrefix(stderr.String(), "weir: ") {
				t.Errorf("exit code %d, said %q; want code %d", got, stderr.String(), c.want)
			}
		})
	}
}

// TestMountHelper calls weir by the helper's name.
func TestMountHelper(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	mnt, link := filepath.Join(dir, "mnt"), filepath.Join(dir, "mount.fuse.weir")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(weirtest.Binary(), link); err != nil {
		t.Fatal(err)
	}
	options := "rw,_netdev,cache=" + filepath.Join(dir, "cache") + ",log_file=" + filepath.Join(dir, "log") + ",listen=127.0.0.1:0,peer=" + p.seeder.Addr()
	code, stdout, stderr := ends(t, exec.Command(link, p.torrent, mnt, "-t", "fuse.weir", "-o", options))
	if code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	defer func() {
		if code, _, stderr := runWeir(t, "umount", mnt); code != 0 {
			t.Errorf("umount: exit code %d: %s", code, stderr)
		}
	}()
	wantSum(t, filepath.Join(mnt, "sample", "sub", "one.bin"), p.sum(t, 1))
}

// TestHelperAsUser mounts for a user whose folder has links to files of root's:
// they are neither read nor written.
func TestHelperAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "shadow")
	const text = "root: SeCrEt\n"
	if err := errors.Join(os.WriteFile(secret, []byte(text), 0o600), os.Symlink(secret, filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "mnt"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, option := range []string{"log_file", "config"} {
		var stderr bytes.Buffer
		code := mountHelper(t.Context(), []string{"none", filepath.Join(dir, "mnt"), "-o", "setuid=nobody,cache=" + dir + "/cache," + option + "=" + filepath.Join(dir, "link")}, io.Discard, &stderr)
		if code != helperFailure || !strings.Contains(stderr.String(), "permission denied") || strings.Contains(stderr.String(), "SeCrEt") {
			t.Errorf("%s: exit code %d, said %q", option, code, stderr.String())
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != text {
		t.Errorf("root's file has %q, %v", b, err)
	}
	// Who should be another user and can't become that does not go on as root.
	code, _, said := runWeir(t, "mount", "--setuid=nobody", "--cache", filepath.Join(dir, "cache"), filepath.Join(dir, "mnt"))
	if code == 0 || !strings.Contains(said, "setuid=nobody") {
		t.Errorf("in the foreground: exit code %d, said %q", code, said)
	}
}

// TestMount8 lets mount(8) find the helper, for a line of fstab(5) too. It looks
// for it in /sbin only, so it gets a /sbin with nothing else in it.
func TestMount8(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a mount namespace with another /sbin")
	}
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	for _, d := range []string{"mnt", "sbin"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(weirtest.Binary(), filepath.Join(dir, "sbin", "mount.fuse.weir")); err != nil {
		t.Fatal(err)
	}
	magnet := p.magnet + "&x.pe=" + p.seeder.Addr()
	options := "ro,noexec,cache=" + filepath.Join(dir, "cache") + ",log_file=" + filepath.Join(dir, "log") + ",listen=127.0.0.1:0"
	fstab := filepath.Join(dir, "fstab")
	if err := os.WriteFile(fstab, []byte(strings.Join([]string{magnet, filepath.Join(dir, "mnt"), "fuse.weir", options, "0", "0"}, " ")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `umount -c -l -a -t fuse.weir # of other tests: they could not be unmounted
		set -e
		sbin=$(readlink -f /sbin)
		mount --bind "$1/sbin" "$sbin"
		mount -t fuse.weir "$2" "$1/mnt" -o "$3"
		sha256sum "$1/mnt/sample/sub/one.bin"
		findmnt -n -o SOURCE,OPTIONS "$1/mnt"
		"$4" umount "$1/mnt"
		mount --fstab "$1/fstab" "$1/mnt"
		sha256sum "$1/mnt/sample/sub/one.bin"
		mount --fstab "$1/fstab" -a # it is there
		umount "$1/mnt"
		flock "$1/cache/owner" true # weir has ended
		mount -t fuse.weir "$2" "$1/mnt" -o "zzz" || echo "exit code $?"`
	code, stdout, stderr := ends(t, exec.Command("unshare", "--mount", "--propagation", "private",
		"sh", "-c", script, "sh", dir, magnet, options, weirtest.Binary()))
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	lines := strings.Split(stdout, "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], p.sum(t, 1)) || !strings.HasPrefix(lines[2], p.sum(t, 1)) {
		t.Errorf("it printed %s", stdout)
	}
	if !strings.HasPrefix(lines[1], magnet) || !strings.Contains(lines[1], " ro,") || !strings.Contains(lines[1], "noexec") {
		t.Errorf("it is mounted as %s", lines[1])
	}
	if lines[3] != "exit code 1" || !strings.Contains(stderr, `unknown option "zzz"`) {
		t.Errorf("a wrong option: %s: %s", lines[3], stderr)
	}
}
