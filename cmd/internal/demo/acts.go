package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// wait runs f, which waits for the mount, and ends waiting when the demo is
// interrupted: unmounting ends the reads that f is in.
func (s *show) wait(f func() error) error {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f()
	}()
	select {
	case <-done:
		return err
	case <-s.ctx.Done():
		err := s.daemon.Close()
		<-done // f has ended, with an error that says nothing
		if err != nil {
			return err
		}
		return context.Cause(s.ctx)
	}
}

// list walks the whole mount.
func (s *show) list() error {
	begin := time.Now()
	var files, folders int
	var total int64
	err := s.wait(func() error {
		return filepath.WalkDir(s.root, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				folders++
				return err
			}
			st, err := e.Info()
			if err != nil {
				return err
			}
			files++
			total += st.Size()
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.say("")
	s.say("$ ls -lR %s", s.root)
	s.say("  %d files in %d folders, %s, listed after %s; fetched of them: %s", files, folders, size(total), since(begin), size(s.fetched()))
	return nil
}

// head reads the beginning of the film.
func (s *show) head() error {
	s.say("")
	s.say("$ head -c 4096 %s", filmName)
	return s.compare(filmName, 0, 4<<10, "first bytes")
}

// seek reads the end of the film.
func (s *show) seek() error {
	s.say("")
	s.say("$ tail -c 65536 %s", filmName)
	return s.compare(filmName, filmBytes-64<<10, 64<<10, "last bytes")
}

// dataset reads one folder of small files as a whole.
func (s *show) dataset() error {
	dir := filepath.Join(tablesName, "station 07")
	s.say("")
	s.say("$ cat %q/*", dir)
	begin, before := time.Now(), s.fetched()
	entries, err := os.ReadDir(filepath.Join(s.dir, sampleName, dir))
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		n, err := s.readAndCheck(filepath.Join(dir, e.Name()), 0, -1)
		if err != nil {
			return err
		}
		total += n
	}
	s.say("  %d files, %s, after %s; fetched: %s", len(entries), size(total), since(begin), size(s.fetched()-before))
	return nil
}

// compare reads a part of a file, and prints how long that took and what it fetched.
func (s *show) compare(name string, off, length int64, what string) error {
	begin, before := time.Now(), s.fetched()
	if _, err := s.readAndCheck(name, off, length); err != nil {
		return err
	}
	s.say("  %s after %s; fetched: %s", what, since(begin), size(s.fetched()-before))
	return nil
}

// readAndCheck reads length bytes of a file in the mount, or all for -1, and checks
// them against the sample on disk. It returns how many there were.
func (s *show) readAndCheck(name string, off, length int64) (int64, error) {
	want, err := readPart(filepath.Join(s.dir, sampleName, name), off, length)
	if err != nil {
		return 0, err
	}
	var got []byte
	err = s.wait(func() (err error) {
		got, err = readPart(filepath.Join(s.root, name), off, length)
		return err
	})
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(got, want) {
		return 0, fmt.Errorf("%s from byte %d: the mount shows something else than what was published", name, off)
	}
	s.read += int64(len(got))
	return int64(len(got)), nil
}

func readPart(path string, off, length int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if length < 0 {
		return io.ReadAll(f)
	}
	b := make([]byte, length)
	_, err = f.ReadAt(b, off)
	return b, err
}

// finish unmounts and prints the totals.
func (s *show) finish() error {
	total, fetched := s.content.Info().Length, s.fetched()
	begin := time.Now()
	if err := s.daemon.Close(); err != nil {
		return err
	}
	s.say("")
	s.say("$ weir umount %s", s.mountpoint)
	s.say("  unmounted after %s", since(begin))
	s.say("")
	s.say("Read %s, all of it right; fetched %s of %s, that is %.1f %%.",
		size(s.read), size(fetched), size(total), 100*float64(fetched)/float64(total))
	s.say("")
	s.say("Now try it with a torrent of yours:")
	s.say("  mkdir -p ~/t && weir mount ~/t FILE.torrent 'magnet:?xt=urn:btih:…'")
	return nil
}
