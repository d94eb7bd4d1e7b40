package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/publish"
	"github.com/weirfs/weir/engine/publish/metainfo"
)

// TestUpdate: what has not changed between two releases has the same pieces, whatever was
// added and removed before it.
func TestUpdate(t *testing.T) {
	for kind, version := range versions {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "release")
			r := rand.New(rand.NewPCG(1, 2))
			write := func(name string, n int) []byte {
				b := make([]byte, n)
				_, _ = rand.NewChaCha8([32]byte{byte(r.Uint32()), byte(r.Uint32())}).Read(b)
				if err := errors.Join(os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, name), b, 0o666)); err != nil {
					t.Fatal(err)
				}
				return b
			}
			big := write("big", 10*16<<10+100)
			for i := range 8 {
				write(fmt.Sprint("file ", i), 30_000+i)
			}
			o := publish.Options{Version: version, PieceLength: 16 << 10, Aligned: true}
			o.Trackers = []string{"http://t.example/announce"}
			o.Private = true
			old := publishAt(t, dir, o)

			// One byte of the big file, a new first file, one that is gone.
			big[5*16<<10]++
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "big"), big, 0o666), os.Remove(filepath.Join(dir, "file 3"))); err != nil {
				t.Fatal(err)
			}
			write("a new one", 20_000)
			var next publish.Options
			if err := next.Follow(old.Spec, true); err != nil {
				t.Fatal(err)
			}
			if next.Version != version || next.PieceLength != 16<<10 {
				t.Errorf("version %v, pieces of %d", next.Version, next.PieceLength)
			}
			made := publishAt(t, dir, next)
			total := made.Spec.Info.ContentBytes()
			if got, want := publish.SharedBytes(made.Spec, old.Spec), total-20_000-16<<10; got != want {
				t.Errorf("%d of %d bytes are shared, want %d", got, total, want)
			}
			if !bytes.Contains(made.Metainfo, append([]byte("7:similarl20:"), old.Spec.InfoHash[:]...)) || bytes.Contains(made.Spec.InfoBytes, []byte("similar")) {
				t.Error("the old torrent is not named, or in the info dictionary")
			}
			if len(made.Spec.Trackers) != 1 || !made.Spec.Info.Private {
				t.Errorf("trackers %q, private: %v", made.Spec.Trackers, made.Spec.Info.Private)
			}
			other := next
			other.PieceLength = 32 << 10
			if n := publish.SharedBytes(publishAt(t, dir, other).Spec, old.Spec); n != 0 {
				t.Errorf("%d bytes are shared with pieces of another length", n)
			}
		})
	}
}

// TestUpdateOfOddPieces: some old torrents have pieces that no new one can have.
func TestUpdateOfOddPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one")
	if err := os.WriteFile(path, []byte("one"), 0o666); err != nil {
		t.Fatal(err)
	}
	old := publishAt(t, path, publish.Options{}).Spec
	old.Info.PieceLength = 100_000
	var o publish.Options
	if err := o.Follow(old, true); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
	o.PieceLength, o.Version = 1<<20, metainfo.V2
	if err := o.Follow(old, false); err != nil || o.PieceLength != 1<<20 || o.Version != metainfo.V2 {
		t.Errorf("%v, pieces of %d, version %v", err, o.PieceLength, o.Version)
	}
}
