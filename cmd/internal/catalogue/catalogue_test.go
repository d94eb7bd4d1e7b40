package catalogue

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
)

func openCache(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func read(t *testing.T, c *Catalogue) (Contents, string) {
	t.Helper()
	var log bytes.Buffer
	all, err := c.Read(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return all, log.String()
}

// TestContents: what was recorded last is read again, and what was removed is not.
func TestContents(t *testing.T) {
	held := openCache(t)
	c := New(held, false)
	if all, _ := read(t, c); len(all.Folders)+len(all.Changed)+len(all.Torrents) > 0 {
		t.Errorf("a new catalogue has %+v", all)
	}
	at := time.Date(2026, 11, 30, 1, 2, 3, 4, time.UTC)
	folder := func(dir string, changed time.Time, there bool) {
		t.Helper()
		if err := c.SyncFolder(dir, func() (time.Time, bool) { return changed, there }); err != nil {
			t.Fatal(err)
		}
	}
	torrent := func(ih weir.InfoHash, r *Record) {
		t.Helper()
		if err := c.SyncTorrent(ih, func() (*Record, error) { return r, nil }); err != nil {
			t.Fatal(err)
		}
	}
	folder("", at, true)
	folder("films", at, true)
	folder("films/old", at.Add(time.Hour), true)
	folder("films/old", time.Time{}, true) // leaves it as it is
	folder("gone", at, true)
	folder("gone", at, false)
	one, two := NewRecord(testSpec()), NewRecord(&source.Spec{Name: "two"})
	two.Seq, one.Shown, two.Shown = 2, []byte("one"), []byte("two")
	ih, other := testSpec().InfoHash, weir.InfoHash{9}
	torrent(ih, &one)
	one.Seq = 3
	torrent(ih, &one)
	torrent(other, &two)
	torrent(weir.InfoHash{7}, &two)
	torrent(weir.InfoHash{7}, nil)
	fails := errors.New("no")
	if err := c.SyncTorrent(other, func() (*Record, error) { return nil, fails }); !errors.Is(err, fails) {
		t.Errorf("what can't be made a record: %v", err)
	}

	all, log := read(t, New(held, false))
	if want := []string{"films", "films/old"}; !reflect.DeepEqual(all.Folders, want) {
		t.Errorf("folders %q, want %q", all.Folders, want)
	}
	if want := map[string]time.Time{"": at, "films": at, "films/old": at.Add(time.Hour)}; !reflect.DeepEqual(all.Changed, want) {
		t.Errorf("changed %v, want %v", all.Changed, want)
	}
	if want := []Torrent{{ih, one}, {other, two}}; !reflect.DeepEqual(all.Torrents, want) || log != "" {
		t.Errorf("torrents %+v, want %+v; log %q", all.Torrents, want, log)
	}

	// What can't be read is left out and said, and the rest is there.
	if err := held.PutRecord(torrentsBucket, other[:], []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if err := held.PutRecord(foldersBucket, []byte("films"), []byte("yesterday")); err != nil {
		t.Fatal(err)
	}
	all, log = read(t, c)
	if len(all.Torrents) != 1 || all.Torrents[0].InfoHash != ih || !strings.Contains(log, "left out") {
		t.Errorf("torrents %+v, log %q", all.Torrents, log)
	}
	if _, ok := all.Changed["films"]; ok || len(all.Folders) != 2 {
		t.Errorf("folders %q changed %v", all.Folders, all.Changed)
	}

	passing := New(held, true)
	if err := passing.SyncTorrent(other, func() (*Record, error) { t.Error("asked"); return nil, nil }); err != nil {
		t.Error(err)
	}
	if err := passing.SyncFolder("x", func() (time.Time, bool) { t.Error("asked"); return at, true }); err != nil {
		t.Error(err)
	}
	if all, _ := read(t, passing); len(all.Folders)+len(all.Torrents) > 0 {
		t.Errorf("an ephemeral catalogue has %+v", all)
	}
}

// TestDrop: metadata, layers and pieces of a torrent go, pinned or not; those of another
// stay, and all of one that was added again.
func TestDrop(t *testing.T) {
	held := openCache(t)
	c := New(held, false)
	ih, other := weir.InfoHash{1}, weir.InfoHash{2}
	fill := func() {
		for _, of := range []weir.InfoHash{ih, other} {
			for bucket, key := range map[string][]byte{engine.MetadataBucket: of[:], engine.LayersBucket: append(of[:], "layer"...)} {
				if err := held.PutRecord(bucket, key, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 2 {
				if err := held.Put(weir.PieceID{Torrent: of, Index: i}, [][]byte{{of[0], byte(i)}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := held.Pin(&weir.TorrentInfo{InfoHash: ih, PieceLength: 2, Length: 4}, 0, 2); err != nil {
			t.Fatal(err)
		}
	}
	left := func(of weir.InfoHash) (n int) {
		for _, bucket := range []string{engine.MetadataBucket, engine.LayersBucket} {
			if err := held.EachRecord(bucket, func(key, _ []byte) error {
				if bytes.HasPrefix(key, of[:]) {
					n++
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, has := range held.Held(of, 2) {
			if has {
				n++
			}
		}
		return n
	}
	fill()
	if err := c.Drop(ih, 2, func() bool { return true }); err != nil || left(ih) != 4 {
		t.Errorf("of a torrent that was added again %d things are left, %v", left(ih), err)
	}
	if err := c.Drop(ih, 2, func() bool { return false }); err != nil || left(ih) != 0 {
		t.Errorf("of a torrent that is gone %d things are left, %v", left(ih), err)
	}
	if left(other) != 4 {
		t.Errorf("of another torrent %d things are left, want 4", left(other))
	}
}
