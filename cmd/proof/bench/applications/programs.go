// Package applications measures programs that know nothing of weir: archivers, databases,
// players, mounts of disk images.
package applications

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// use is a real program at work on a file or folder of a mount. What it prints
// there must be what it prints when it works on the original.
type use struct {
	name   string
	needs  []string     // programs
	able   func() error // looks for what else is needed; nil: nothing
	root   bool         // only root can do it
	kernel string       // a file system that the kernel must know; empty: none
	// prepare makes the content at path.
	prepare func(path string) error
	// run returns what the program says of the content at path; scratch is a folder
	// for what it writes.
	run func(r *suite.Run, path, scratch string) ([]byte, error)
}

// Uses are the programs of issue "the reader": what people do inside a mount.
func Uses() []use {
	return []use{
		{name: "unzip -l", needs: []string{"unzip"}, prepare: makeZip, run: func(r *suite.Run, path, _ string) ([]byte, error) {
			out, err := r.Output("unzip", "-l", path)
			_, rest, _ := bytes.Cut(out, []byte("\n")) // the first line names the archive
			return rest, err
		}},
		{name: "git clone", needs: []string{"git"}, prepare: makeRepository, run: func(r *suite.Run, path, scratch string) ([]byte, error) {
			clone := filepath.Join(scratch, "clone")
			if out, err := r.Output("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", path, clone); err != nil {
				return out, err
			}
			return r.Output("git", "-C", clone, "ls-tree", "-r", "HEAD")
		}},
		{name: "SQLite", needs: []string{"sqlite3"}, prepare: makeSQLite, run: func(r *suite.Run, path, _ string) ([]byte, error) {
			return r.Output("sqlite3", "file:"+path+"?immutable=1", "select count(*), sum(length(v)) from t where k between 90000 and 90200")
		}},
		duckDB(),
		{name: "mount -o loop, ISO", needs: []string{"genisoimage"}, root: true, kernel: "iso9660", prepare: makeISO, run: mountLoop},
		{name: "isoinfo on a loop device, ISO", needs: []string{"genisoimage", "isoinfo", "losetup"}, root: true, prepare: makeISO, run: readLoop},
		{name: "mount -o loop, ext4", needs: []string{"mkfs.ext4"}, root: true, kernel: "ext4", prepare: makeExt4, run: mountLoop},
	}
}

// possible returns suite.Absent if something is missing.
func (u use) possible() error {
	for _, n := range u.needs {
		if _, err := exec.LookPath(n); err != nil {
			return suite.Absent(n + " is not installed")
		}
	}
	if u.able != nil {
		if err := u.able(); err != nil {
			return err
		}
	}
	if u.root && os.Geteuid() != 0 {
		return suite.Absent("only root may mount images")
	}
	if u.kernel == "" {
		return nil
	}
	b, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(b), "\t"+u.kernel+"\n") && exec.Command("modprobe", u.kernel).Run() != nil {
		return suite.Absent("this kernel knows no " + u.kernel)
	}
	return nil
}

// Program lets a program work on what only the swarm has.
func Program(u use) suite.Case {
	return suite.Case{
		Name: "program/" + u.name, About: "in a mount, on 4 hosts × 12.5 MB/s, 50 ms; its output against that from the original",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "time", Unit: suite.Seconds},
			{Name: "right", Unit: suite.Count, Bar: suite.Bar{Least: 1}},
			{Name: "fetched", Unit: suite.Bytes},
			{Name: "fetched of all", Unit: suite.Ratio},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			if err := u.possible(); err != nil {
				return nil, err
			}
			name := "program-" + strings.ReplaceAll(strings.ReplaceAll(u.name, " ", "-"), ",", "")
			dir := filepath.Join(r.Dir, "original")
			original := filepath.Join(dir, "content")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			if err := u.prepare(original); err != nil {
				return nil, fmt.Errorf("prepare: %w", err)
			}
			want, err := u.run(r, original, filepath.Join(r.Dir, "there"))
			if err != nil {
				return nil, fmt.Errorf("on the original: %w", err)
			}
			files, err := swarmtest.Folder(dir)
			if err != nil {
				return nil, err
			}
			spec := remotehosts.Spec{Name: name, PieceBytes: 256 * suite.KiB, Virtual: true}
			for _, f := range files {
				spec.Files = append(spec.Files, remotehosts.File{Path: f.Path, Disk: f.Disk})
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: spec, Own: true, Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx, "content"); err != nil {
				return nil, err
			}
			begin := time.Now()
			got, err := u.run(r, p.Path("content"), filepath.Join(r.Dir, "here"))
			took := time.Since(begin).Seconds()
			if err != nil {
				return nil, err
			}
			v := suite.Values{"time": took, "right": 1}
			if !bytes.Equal(got, want) || len(want) == 0 {
				v["right"] = 0
				err = errors.New("the output differs from that on the original")
			}
			sent, failed := r.Fetched(sw)
			v["fetched"], v["fetched of all"] = sent, sent/float64(sw.Info().Length)
			return v, errors.Join(err, failed)
		},
	}
}

func makeZip(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for i := range 400 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("folder/file-%04d", i), Method: zip.Store})
		if err != nil {
			return err
		}
		if _, err := e.Write(suite.Noise(128*suite.KiB, uint64(i))); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), f.Close())
}

// makeRepository makes a bare repository of 20 MB. Its branch is a file of its
// own, not a line of packed-refs: a repository without any file in refs is none in
// a torrent, which has no empty folders.
func makeRepository(path string) error {
	work := path + ".work"
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(work, fmt.Sprintf("file-%03d", i)), suite.Noise(200*suite.KiB, uint64(i)), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "master", "."}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "all"},
		{"init", "-q", "-b", "master", "--bare", path}, {"push", "-q", path, "HEAD:master"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

func makeSQLite(path string) error {
	cmd := exec.Command("sqlite3", path)
	cmd.Stdin = strings.NewReader(`pragma page_size=4096; create table t(k integer primary key, v blob);
		with recursive n(i) as (select 1 union all select i+1 from n where i<100000) insert into t select i, randomblob(500) from n;`)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sqlite3: %w: %s", err, out)
	}
	return nil
}
