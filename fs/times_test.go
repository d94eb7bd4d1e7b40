package fs

import (
	"errors"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

func TestCredible(t *testing.T) {
	added := FakeAdded
	for _, tt := range []struct {
		name          string
		created, want time.Time
	}{
		{"None", time.Time{}, added},
		{"Zero", time.Unix(0, 0), added},
		{"Negative", time.Unix(-5, 0), added},
		{"Second", time.Unix(1, 0), time.Unix(1, 0)},
		{"Usual", FakeCreated, FakeCreated},
		{"SameDay", added.Add(24 * time.Hour), added.Add(24 * time.Hour)}, // by another clock
		{"Later", added.Add(49 * time.Hour), added},
		{"Milliseconds", time.Unix(FakeCreated.UnixMilli(), 0), added},
		{"Huge", time.Unix(1<<60, 0), added},
		{"Largest", time.Unix(1<<63-1, 0), added},
	} {
		if got := credible(tt.created, added); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A file of which nothing is held has a block, for programs take none for a hole.
func TestBlocks(t *testing.T) {
	for _, tt := range []struct{ length, held, want int64 }{{0, 0, 0}, {1, 0, 1}, {1 << 40, 0, 1}, {1000, 1, 1}, {1000, 513, 2}, {1000, 1000, 2}} {
		if got := blocks(tt.length, tt.held); got != uint64(tt.want) {
			t.Errorf("%d of %d bytes: %d blocks, want %d", tt.held, tt.length, got, tt.want)
		}
	}
}

// The times of a torrent don't depend on when its metadata came, and are those of
// before when its tree was dropped.
func TestTimesStay(t *testing.T) {
	f := New(Options{})
	dated, bare := FakeInfo("dated", FakeFile{Path: "d/f", Length: 1}), FakeInfo("bare", FakeFile{Path: "d/f", Length: 1})
	bare.Created = time.Time{}
	magnet := NewFakeMagnet(bare)
	addT(t, f, NewFakeTorrent(dated))
	addT(t, f, magnet)
	mtime := func(path string) time.Time {
		t.Helper()
		a, err := await(f.operations.Getattr(lookupPath(t, f, path)))
		if err != nil {
			t.Fatalf("%s: %+v, %v", path, a, err)
		}
		return a.Time
	}
	if got := mtime("bare"); !got.Equal(FakeAdded) {
		t.Errorf("a magnet: %v", got)
	}
	magnet.Learn()
	for range 2 {
		for _, path := range []string{"dated", "dated/d", "dated/d/f"} {
			if got := mtime(path); !got.Equal(FakeCreated) {
				t.Errorf("%s: %v", path, got)
			}
		}
		for _, path := range []string{"bare", "bare/d", "bare/d/f"} {
			if got := mtime(path); !got.Equal(FakeAdded) {
				t.Errorf("%s: %v", path, got)
			}
		}
		for _, tor := range f.root.all() {
			tor.dropTree()
		}
	}
}

// A folder's time is when something came or went, and can be put back.
func TestFolderTimes(t *testing.T) {
	f := New(Options{ByHash: true})
	for _, dir := range []string{"a", "a/b"} {
		if err := f.MakeFolder(dir); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Date(2021, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, dir := range []string{"", "a", "a/b"} {
		if err := f.SetFolderChanged(dir, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.SetFolderChanged("c", then); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("no such folder: %v", err)
	}
	mtime := func(id node.ID) time.Time {
		t.Helper()
		a, err := now(f.operations.Getattr(id))
		if err != nil {
			t.Fatal(err)
		}
		return a.Time
	}
	for _, id := range []node.ID{node.Root, lookupPath(t, f, "a"), lookupPath(t, f, "a/b"), node.ByHash} {
		if got := mtime(id); !got.Equal(then) {
			t.Errorf("node %v: %v", id, got)
		}
	}
	if _, err := f.AddAt("a", "t", NewFakeTorrent(FakeInfo("t", FakeFile{Path: "f", Length: 1}))); err != nil {
		t.Fatal(err)
	}
	added := mtime(lookupPath(t, f, "a"))
	if !added.After(then) || !mtime(node.ByHash).Equal(added) {
		t.Errorf("a torrent came: %v, by-hash %v", added, mtime(node.ByHash))
	}
	if got := mtime(node.Root); !got.Equal(then) {
		t.Errorf("the root, in which nothing changed: %v", got)
	}
	if err := f.Remove(FakeInfo("t").InfoHash); err != nil {
		t.Fatal(err)
	}
	if got, err := f.FolderChanged("a"); err != nil || !got.After(added) {
		t.Errorf("a torrent went: %v, %v", got, err)
	}
}
