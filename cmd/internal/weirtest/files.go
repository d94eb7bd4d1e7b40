package weirtest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Sum returns the SHA-256 of a file.
func Sum(tb testing.TB, path string) string {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		tb.Fatalf("read %s: %v", path, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Sums returns the SHA-256 of every file beneath dir, by its path from there.
func Sums(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sums[rel] = Sum(tb, path)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sums
}

// SameFiles fails the test unless both folders hold the same files with the
// same content.
func SameFiles(tb testing.TB, got, want string) {
	tb.Helper()
	g, w := Sums(tb, got), Sums(tb, want)
	for name, sum := range w {
		switch other, ok := g[name]; {
		case !ok:
			tb.Errorf("%q is missing in %s", name, got)
		case other != sum:
			tb.Errorf("%q in %s has another content", name, got)
		}
	}
	for name := range g {
		if _, ok := w[name]; !ok {
			tb.Errorf("%q in %s should not be there", name, got)
		}
	}
}
