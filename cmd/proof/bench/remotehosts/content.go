package remotehosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/weirfs/weir/engine/swarmtest"
	"golang.org/x/sync/errgroup"
)

// Spec says what a torrent holds. It is the same in every process that makes the
// content from it.
type Spec struct {
	Name       string
	PieceBytes int64
	Files      []File // one without a path makes the torrent's single-file form
	Hybrid     bool   // v1 and v2, so that all files are padded to pieces
	V2         bool   // a v2 torrent, not of v1; own seeders only
	Virtual    bool   // not written to disk: nobody seeds it, or own seeders do
}

// File is one file: made up from a seed, or one that is there already.
type File struct {
	Path   []string
	Length int64
	Seed   uint64
	Disk   string // a path; instead of Length and Seed
	Pad    bool   // Length zeros that are in no folder (BEP 47); for v1
}

// One is the spec of a single made-up file.
func One(name string, pieceBytes, length int64, seed uint64) Spec {
	return Spec{Name: name, PieceBytes: pieceBytes, Files: []File{{Length: length, Seed: seed}}}
}

// single reports whether the torrent has the single-file form.
func (s Spec) single() bool { return len(s.Files) == 1 && len(s.Files[0].Path) == 0 }

// Content lays the content out and hashes it.
func (s Spec) Content() (*swarmtest.Content, error) {
	o := swarmtest.ContentOptions{Name: s.Name, PieceLength: s.PieceBytes, Single: s.single()}
	switch {
	case s.Hybrid:
		o.Version = swarmtest.Hybrid
	case s.V2:
		o.Version = swarmtest.V2
	}
	for _, f := range s.Files {
		o.Files = append(o.Files, swarmtest.File{Path: f.Path, Length: f.Length, Seed: f.Seed, Disk: f.Disk, Padding: f.Pad})
	}
	return swarmtest.NewContent(o)
}

// path returns where in dir a seeder looks for a file.
func (s Spec) path(dir string, f File) string {
	return filepath.Join(append([]string{dir, s.Name}, f.Path...)...)
}

// Write puts the content into dir as a seeder that is not of this process expects
// it. Files that are there with the right length are taken for right.
func (s Spec) Write(dir string) error {
	for _, f := range s.Files {
		if f.Pad {
			continue
		}
		name := s.path(dir, f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if f.Disk != "" {
			if err := os.Symlink(f.Disk, name); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
			continue
		}
		if st, err := os.Stat(name); err == nil && st.Size() == f.Length {
			continue
		}
		if err := writeFile(name, f); err != nil {
			return fmt.Errorf("write the content of %s: %w", s.Name, err)
		}
	}
	return nil
}

// writeFile makes a file up on all cores. It gets its name in the end.
func writeFile(name string, f File) error {
	out, err := os.Create(name + ".part")
	if err != nil {
		return err
	}
	defer out.Close()
	const chunk = 4 << 20
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for off := int64(0); off < f.Length; off += chunk {
		g.Go(func() error {
			b := make([]byte, min(chunk, f.Length-off))
			swarmtest.Fill(b, f.Seed, off)
			_, err := out.WriteAt(b, off)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}
