package main

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
	run func(r *Run, path, scratch string) ([]byte, error)
}

// uses are the programs of issue "the reader": what people do inside a mount.
func uses() []use {
	return []use{
		{name: "unzip -l", needs: []string{"unzip"}, prepare: makeZip, run: func(r *Run, path, _ string) ([]byte, error) {
			out, err := r.output("unzip", "-l", path)
			_, rest, _ := bytes.Cut(out, []byte("\n")) // the first line names the archive
			return rest, err
		}},
		{name: "git clone", needs: []string{"git"}, prepare: makeRepository, run: func(r *Run, path, scratch string) ([]byte, error) {
			clone := filepath.Join(scratch, "clone")
			if out, err := r.output("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", path, clone); err != nil {
				return out, err
			}
			return r.output("git", "-C", clone, "ls-tree", "-r", "HEAD")
		}},
		{name: "SQLite", needs: []string{"sqlite3"}, prepare: makeSQLite, run: func(r *Run, path, _ string) ([]byte, error) {
			return r.output("sqlite3", "file:"+path+"?immutable=1", "select count(*), sum(length(v)) from t where k between 90000 and 90200")
		}},
		duckDB(),
		{name: "mount -o loop, ISO", needs: []string{"genisoimage"}, root: true, kernel: "iso9660", prepare: makeISO, run: mountLoop},
		{name: "isoinfo on a loop device, ISO", needs: []string{"genisoimage", "isoinfo", "losetup"}, root: true, prepare: makeISO, run: readLoop},
		{name: "mount -o loop, ext4", needs: []string{"mkfs.ext4"}, root: true, kernel: "ext4", prepare: makeExt4, run: mountLoop},
	}
}

// possible returns errAbsent if something is missing.
func (u use) possible() error {
	for _, n := range u.needs {
		if _, err := exec.LookPath(n); err != nil {
			return errAbsent(n + " is not installed")
		}
	}
	if u.able != nil {
		if err := u.able(); err != nil {
			return err
		}
	}
	if u.root && os.Geteuid() != 0 {
		return errAbsent("only root may mount images")
	}
	if u.kernel == "" {
		return nil
	}
	b, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(b), "\t"+u.kernel+"\n") && exec.Command("modprobe", u.kernel).Run() != nil {
		return errAbsent("this kernel knows no " + u.kernel)
	}
	return nil
}

// output runs a program in the run's time.
func (r *Run) output(name string, args ...string) ([]byte, error) {
	return output(exec.CommandContext(r.ctx, name, args...))
}

// output runs a program; an error says what it had to say.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", cmd.Args[0], err, stderr.Bytes())
	}
	return out, err
}

// realProgram lets a program work on what only the swarm has.
func realProgram(u use) Case {
	return Case{
		Name: "program/" + u.name, About: "in a mount, on 4 hosts × 12.5 MB/s, 50 ms; its output against that from the original",
		Systems: []string{weirSystem}, Limit: 60 * time.Second, Once: true,
		Figures: []Figure{
			{Name: "time", Unit: Seconds},
			{Name: "right", Unit: Count, Bar: Bar{Least: 1}},
			{Name: "fetched", Unit: Bytes},
			{Name: "fetched of all", Unit: Ratio},
		},
		Run: func(r *Run) (Values, error) {
			if err := u.possible(); err != nil {
				return nil, err
			}
			name := "program-" + strings.ReplaceAll(strings.ReplaceAll(u.name, " ", "-"), ",", "")
			dir := filepath.Join(r.dir, "original")
			original := filepath.Join(dir, "content")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			if err := u.prepare(original); err != nil {
				return nil, fmt.Errorf("prepare: %w", err)
			}
			want, err := u.run(r, original, filepath.Join(r.dir, "there"))
			if err != nil {
				return nil, fmt.Errorf("on the original: %w", err)
			}
			files, err := swarmtest.Folder(dir)
			if err != nil {
				return nil, err
			}
			spec := remotehosts.Spec{Name: name, PieceBytes: 256 * kib, Virtual: true}
			for _, f := range files {
				spec.Files = append(spec.Files, remotehosts.File{Path: f.Path, Disk: f.Disk})
			}
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: spec, Own: true, Hosts: 4, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx, "content"); err != nil {
				return nil, err
			}
			begin := time.Now()
			got, err := u.run(r, p.Path("content"), filepath.Join(r.dir, "here"))
			took := time.Since(begin).Seconds()
			if err != nil {
				return nil, err
			}
			v := Values{"time": took, "right": 1}
			if !bytes.Equal(got, want) || len(want) == 0 {
				v["right"] = 0
				err = errors.New("the output differs from that on the original")
			}
			sent, failed := r.fetched(sw)
			v["fetched"], v["fetched of all"] = sent, sent/float64(sw.Info().Length)
			return v, errors.Join(err, failed)
		},
	}
}

// noise returns bytes that no program can make smaller.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	swarmtest.Fill(b, seed, 0)
	return b
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
		if _, err := e.Write(noise(128*kib, uint64(i))); err != nil {
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
		if err := os.WriteFile(filepath.Join(work, fmt.Sprintf("file-%03d", i)), noise(200*kib, uint64(i)), 0o644); err != nil {
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
