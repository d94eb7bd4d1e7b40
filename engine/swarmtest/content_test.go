package swarmtest_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
)

func TestFill(t *testing.T) {
	t.Run("SameBytesFromAnyOffset", func(t *testing.T) {
		whole := make([]byte, 4096)
		swarmtest.Fill(whole, 3, 0)
		for range 500 {
			off := rand.IntN(len(whole))
			p := make([]byte, rand.IntN(len(whole)-off+1))
			swarmtest.Fill(p, 3, int64(off))
			if !bytes.Equal(p, whole[off:off+len(p)]) {
				t.Fatalf("bytes %d+%d differ from the whole", off, len(p))
			}
		}
	})
	t.Run("SeedsAndOffsetsDiffer", func(t *testing.T) {
		seen := map[string]bool{}
		for seed := range uint64(50) {
			for _, off := range []int64{0, 16, 1 << 20, 1 << 40} {
				p := make([]byte, 16)
				swarmtest.Fill(p, seed, off)
				seen[string(p)] = true
			}
		}
		if len(seen) != 200 {
			t.Fatalf("%d different values of 200", len(seen))
		}
	})
}

func TestContent(t *testing.T) {
	memory := bytes.Repeat([]byte("weir "), 20_000)
	disk := filepath.Join(t.TempDir(), "disk")
	onDisk := make([]byte, 70_001)
	swarmtest.Fill(onDisk, 99, 0)
	if err := os.WriteFile(disk, onDisk, 0o644); err != nil {
		t.Fatal(err)
	}
	made := make([]byte, 123_457)
	swarmtest.Fill(made, 5, 0)
	created := time.Unix(1_500_000_000, 0)
	c := newContent(t, swarmtest.ContentOptions{
		Name: "mixed", PieceLength: 32 << 10, Padding: true, Private: true, Created: created,
		Files: []swarmtest.File{
			{Path: []string{"made"}, Length: int64(len(made)), Seed: 5},
			{Path: []string{"empty"}},
			{Path: []string{"a", "memory"}, Bytes: memory, Executable: true},
			{Path: []string{"a", "disk"}, Disk: disk},
		},
	})
	info := c.Info()

	var want []byte
	var names []string
	for _, b := range [][]byte{made, nil, memory, onDisk} {
		if pad := -len(want) & (32<<10 - 1); pad > 0 {
			want = append(want, make([]byte, pad)...)
		}
		want = append(want, b...)
	}
	if int64(len(want)) != info.Length {
		t.Fatalf("length %d, want %d", info.Length, len(want))
	}
	for i := range info.Files {
		if f := &info.Files[i]; !f.Padding {
			names = append(names, f.Path[len(f.Path)-1])
			if f.Offset%info.PieceLength != 0 {
				t.Errorf("%s begins at %d, not with a piece", f.Path, f.Offset)
			}
		}
	}
	if !slices.Equal(names, []string{"made", "empty", "memory", "disk"}) {
		t.Errorf("files %q", names)
	}

	t.Run("ReadAt", func(t *testing.T) {
		for range 300 {
			off := rand.IntN(len(want))
			p := make([]byte, rand.IntN(len(want)-off+1))
			if n, err := c.ReadAt(p, int64(off)); n != len(p) || err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
				t.Fatalf("ReadAt %d+%d: %d, %v, or wrong bytes", off, len(p), n, err)
			}
		}
		if n, err := c.ReadAt(make([]byte, 10), info.Length-4); n != 4 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if _, err := c.ReadAt(make([]byte, 1), -1); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("negative offset: %v", err)
		}
	})
	t.Run("Files", func(t *testing.T) {
		for i, b := range map[int][]byte{0: made, len(info.Files) - 1: onDisk} {
			sum, err := c.FileSHA256(i)
			if err != nil || sum != sha256.Sum256(b) {
				t.Errorf("file %d: wrong sum, %v", i, err)
			}
			p := make([]byte, 100)
			if n, err := c.ReadFileAt(i, p, int64(len(b))-50); n != 50 || err != io.EOF || !bytes.Equal(p[:50], b[len(b)-50:]) {
				t.Errorf("file %d: end is %d, %v", i, n, err)
			}
		}
	})
	t.Run("PieceHashes", func(t *testing.T) {
		for i := range info.NumPieces() {
			r := info.PieceRange(i)
			if sum := sha1.Sum(want[r.Off:r.End]); !bytes.Equal(sum[:], c.PieceHashes()[20*i:20*i+20]) {
				t.Fatalf("piece %d: wrong hash", i)
			}
		}
	})
	t.Run("ForeignParserAgrees", func(t *testing.T) {
		mi, err := metainfo.Load(bytes.NewReader(c.Torrent(swarmtest.Hints{
			Trackers: [][]string{{"http://a/x"}, {"http://b/y", "http://c/z"}},
			WebSeeds: []string{"http://w/"}, Comment: "hello",
		})))
		if err != nil {
			t.Fatal(err)
		}
		got, err := mi.UnmarshalInfo()
		if err != nil {
			t.Fatal(err)
		}
		if mi.HashInfoBytes() != metainfo.Hash(c.InfoHash()) || !bytes.Equal(mi.InfoBytes, c.InfoBytes()) {
			t.Error("another info hash")
		}
		if got.Name != "mixed" || got.PieceLength != 32<<10 || got.Private == nil || !*got.Private ||
			got.TotalLength() != info.Length || !bytes.Equal(got.Pieces, c.PieceHashes()) || len(got.Files) != len(info.Files) {
			t.Errorf("info %+v", got)
		}
		if got.Files[1].Attr != "p" || mi.CreationDate != created.Unix() || mi.Comment != "hello" ||
			len(mi.AnnounceList) != 2 || len(mi.AnnounceList[1]) != 2 || !slices.Equal(mi.UrlList, metainfo.UrlList{"http://w/"}) {
			t.Errorf("metainfo %+v", mi)
		}
		m, err := metainfo.ParseMagnetUri(c.Magnet(swarmtest.Hints{Trackers: [][]string{{"http://a/x?y&z"}}, Peers: []string{"127.0.0.2:99"}}))
		if err != nil || m.InfoHash != metainfo.Hash(c.InfoHash()) || m.DisplayName != "mixed" ||
			!slices.Equal(m.Trackers, []string{"http://a/x?y&z"}) || m.Params.Get("x.pe") != "127.0.0.2:99" {
			t.Errorf("magnet %+v, %v", m, err)
		}
	})
	t.Run("HashedOnce", func(t *testing.T) {
		o := swarmtest.ContentOptions{Name: "x", Files: []swarmtest.File{{Path: []string{"f"}, Length: 1 << 20, Seed: 424242}}}
		a := newContent(t, o)
		o.Name = "y"
		b := newContent(t, o)
		o.PieceLength = 16 << 10
		other := newContent(t, o)
		if &a.PieceHashes()[0] != &b.PieceHashes()[0] {
			t.Error("the same content was hashed twice")
		}
		if len(other.PieceHashes()) != 64*20 {
			t.Errorf("%d bytes of hashes for other pieces", len(other.PieceHashes()))
		}
	})
}

func TestNewContentRefuses(t *testing.T) {
	one := []swarmtest.File{{Path: []string{"f"}, Length: 1}}
	for name, o := range map[string]swarmtest.ContentOptions{
		"NoName":              {Files: one},
		"NoFiles":             {Name: "x"},
		"NegativePieceLength": {Name: "x", Files: one, PieceLength: -1},
		"NegativeLength":      {Name: "x", Files: []swarmtest.File{{Path: []string{"f"}, Length: -1}}},
		"NoPath":              {Name: "x", Files: []swarmtest.File{{Length: 1}}},
		"SingleOfTwo":         {Name: "x", Single: true, Files: append(one, one...)},
	} {
		if _, err := swarmtest.NewContent(o); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string]string{"b": "bee", "a/x": "ex", "a/y/z": ""} {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := swarmtest.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := newContent(t, swarmtest.ContentOptions{Name: "folder", Files: files})
	p := make([]byte, 5)
	if _, err := c.ReadAt(p, 0); err != nil || string(p) != "exbee" || len(c.Info().Files) != 3 {
		t.Fatalf("%q of %d files, %v", p, len(c.Info().Files), err)
	}
}

func BenchmarkFill(b *testing.B) {
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		swarmtest.Fill(p, 1, 0)
	}
}

func BenchmarkNewContent(b *testing.B) {
	const length = 256 << 20
	b.SetBytes(length)
	seed := uint64(time.Now().UnixNano())
	for b.Loop() {
		seed++
		newContent(b, swarmtest.ContentOptions{Name: "x", PieceLength: 1 << 20, Single: true, Files: []swarmtest.File{{Length: length, Seed: seed}}})
	}
}
