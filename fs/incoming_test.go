package fs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/fs"
)

// Programs that copy a file and then set its mode, owner and times by its name, or
// look at it again, find it.
func TestCopyingPrograms(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"Install", `install -p -m 600 "$1" "$2"`},
		{"CpChmod", `cp "$1" "$2"; chmod 640 "$2"; test "$(stat -c %a "$2")" = 640`},
		{"CpTouch", `cp "$1" "$2"; touch -d 2001-02-03 "$2"; test "$(date -r "$2" +%F)" = 2001-02-03`},
		{"CpChown", `cp "$1" "$2"; chown "$(id -u):$(id -g)" "$2"`},
		{"CpArchive", `cp -a "$1" "$2"; cmp "$1" "$2"`},
		{"CpTwice", `cp "$1" "$2"; cp "$1" "$2"; cmp "$1" "$2"`},
		{"Mv", `cp "$1" "$1.copy"; mv "$1.copy" "$2"`},
		{"Dd", `dd if="$1" of="$2" bs=512 conv=fsync 2>&1; stat "$2"`},
		{"Tee", `tee "$2" < "$1" > /dev/null; cat "$2" | cmp - "$1"`},
		{"Shutil", `python3 -c 'import shutil, sys; shutil.copy2(sys.argv[1], sys.argv[2])' "$1" "$2"`},
		{"ShutilMove", `cp -p "$1" "$1.copy"; python3 -c 'import shutil, sys; shutil.move(sys.argv[1], sys.argv[2])' "$1.copy" "$2"`},
		{"Rsync", `rsync -tpog "$1" "$2"`},
		{"RsyncTwice", `rsync -tp "$1" "$2"; touch "$1"; rsync -tp "$1" "$2"`},
		{"RsyncInplace", `rsync -tp --inplace "$1" "$2"`},
		{"RsyncRemoves", `cp -p "$1" "$1.copy"; rsync -t --remove-source-files "$1.copy" "$2"; ! test -e "$1.copy"`},
		{"Tar", `cd "$(dirname "$1")"; tar -cf - x.torrent | tar -C "$(dirname "$2")" -xpf -`},
		{"Cpio", `touch -d @5 "$1"; cp -p "$1" "$2"; test "$(stat -c %Y "$2")" = 5`},
		{"Removed", `cp "$1" "$2"; rm "$2"; ! test -e "$2"`},
		{"CreatedFirst", `: > "$2"; cat "$1" >> "$2"`},
		{"Renamed", `cp "$1" "$2.part"; chmod 600 "$2.part"; mv "$2.part" "$2"; chmod 644 "$2"; stat "$2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			need(t, "rsync")
			h, dir := mountHost(t)
			from := filepath.Join(t.TempDir(), "x.torrent")
			if err := os.WriteFile(from, []byte("torrent"), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-ec", tt.script, "sh", from, filepath.Join(dir, "x.torrent"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if done := h.take(); len(done) == 0 || done[0] != "add /x.torrent 7" {
				t.Errorf("the host was asked to %q", done)
			}
			if got := mustShell(t, dir, "ls -A"); got != "by-hash\nx\n" {
				t.Errorf("listed: %q", got)
			}
			fs.DropIncoming(h.fs, time.Now().Add(time.Hour))
			if _, err := os.Lstat(filepath.Join(dir, "x.torrent")); !os.IsNotExist(err) {
				t.Errorf("after a while: %v", err)
			}
		})
	}
}

// A torrent may have the name of its .torrent file.
func TestTorrentNamedLikeItsFile(t *testing.T) {
	h, dir := mountHost(t)
	h.wholeName = true
	from := filepath.Join(t.TempDir(), "x.torrent")
	if err := os.WriteFile(from, []byte("torrent"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustShell(t, dir, `install -p -m 644 "`+from+`" .; touch x.torrent; chmod 600 x.torrent`)
	h.expect(t, "add /x.torrent 7")
	if got := mustShell(t, dir, "ls; ls x.torrent"); got != "by-hash\nx.torrent\na\nd\n" {
		t.Errorf("listed: %q", got)
	}
	fs.DropIncoming(h.fs, time.Now().Add(time.Hour))
	if out, err := shell(dir, "chmod 600 x.torrent"); err == nil || !refused(out) {
		t.Errorf("after a while: %q, %v", out, err)
	}
}

// Folders with nothing but what was handed over are empty.
func TestFolderOfTakenFiles(t *testing.T) {
	h, dir := mountHost(t)
	mustShell(t, dir, "mkdir d; echo magnet:?x > d/m.txt; rmdir d/m d; mkdir d; ls d/m.txt 2>/dev/null || true; rmdir d")
	h.expect(t, "mkdir d", "add d/m.txt 10", "remove", "rmdir d", "mkdir d", "rmdir d")
	mustShell(t, dir, "echo magnet:?x > m.txt; mkdir e; mv m.txt e/; rmdir m e")
	fs.DropIncoming(h.fs, time.Now().Add(time.Hour))
	if n := fs.Incoming(h.fs); n != 0 {
		t.Errorf("%d files are left", n)
	}
}
