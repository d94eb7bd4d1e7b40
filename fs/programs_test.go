package fs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/fs"
)

// How real programs understand what weir reports.

// need fails the test if a program is missing that .ci/need installs.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("run .ci/need test: %v", err)
	}
}

// Programs that look for holes must not take what is not held for one: they would
// write zeros in its place.
func TestSparseCopies(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"Tar", `tar --sparse -C "$1" -cf - f | tar -C "$2" -xf -`},
		{"TarRaw", `tar --sparse --hole-detection=raw -C "$1" -cf - f | tar -C "$2" -xf -`},
		{"Cp", `cp "$1"/f "$2"`},
		{"CpSparse", `cp --sparse=always "$1"/f "$2"`},
		{"Rsync", `rsync -S "$1"/f "$2"`},
		{"Dd", `dd if="$1"/f of="$2"/f bs=64k conv=sparse 2>&1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			need(t, strings.Fields(tt.script)[0])
			tor := fs.NewFakeTorrent(fs.FakeInfo("t", fs.FakeFile{Path: "f", Length: 3*fs.FakePiece + 77}))
			tor.HoldAll(false)
			_, dir := mount(t, fs.Options{}, tor)
			to := t.TempDir()
			cmd := exec.Command("sh", "-ec", tt.script, "sh", filepath.Join(dir, "t"), to)
			out, err := &strings.Builder{}, error(nil)
			cmd.Stdout, cmd.Stderr = out, out
			if err = cmd.Start(); err != nil {
				t.Fatal(err)
			}
			fs.Eventually(t, "the program reads", func() bool { return tor.Waits.Load() > 0 || cmd.ProcessState != nil })
			tor.HoldAll(true)
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := os.ReadFile(filepath.Join(to, "f"))
			if err != nil || string(got) != string(tor.Content(0)) {
				t.Errorf("the copy differs: %d bytes, %v", len(got), err)
			}
		})
	}
}

// A copy with extended attributes has those about the source, not those about peers.
func TestAttributesTravel(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	_, dir := mount(t, fs.Options{}, tor)
	for _, tt := range []struct{ name, script string }{
		{"Cp", `cp -a "$1" "$2"`},
		{"Rsync", `rsync -aX "$1" "$2"`},
		{"Tar", `tar --xattrs -C "$1/.." -cf - film | tar --xattrs --xattrs-include='user.*' -C "$2" -xf -`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			need(t, strings.Fields(tt.script)[0])
			need(t, "getfattr")
			to := t.TempDir()
			if out, err := exec.Command("sh", "-ec", tt.script, "sh", filepath.Join(dir, "film"), to).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := exec.Command("getfattr", "-d", "--absolute-names", filepath.Join(to, "film/extras/notes.txt")).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := "user.weir.infohash=\"" + tor.InfoHash().String() + "\"\nuser.weir.path=\"extras/notes.txt\"\n"
			if _, attrs, _ := strings.Cut(string(out), "\n"); strings.TrimSpace(attrs) != strings.TrimSpace(want) {
				t.Errorf("the copy has\n%swant\n%s", attrs, want)
			}
			out, err = exec.Command("getfattr", "-n", "user.weir.peers", "--only-values", "--absolute-names", filepath.Join(dir, "film/extras/notes.txt")).CombinedOutput()
			if err != nil || string(out) != "1000" {
				t.Errorf("by name: %q, %v", out, err)
			}
		})
	}
}

// find trusts link counts: a folder whose tree is not built yet may have subfolders.
func TestFindSeesSubfolders(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	_, dir := mount(t, fs.Options{}, tor)
	out, err := exec.Command("find", dir, "-type", "d", "-printf", "%P %n\n").CombinedOutput()
	if want := " 3\nfilm 1\nfilm/extras 2\n"; err != nil || string(out) != want {
		t.Errorf("find: %q, %v, want %q", out, err, want)
	}
	out, err = exec.Command("find", dir, "-type", "f").CombinedOutput()
	if n := strings.Count(string(out), "\n"); err != nil || n != 3 {
		t.Errorf("find: %q, %v", out, err)
	}
}
