package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest"
)

// Where the item is: at the front, which redirects to nodes.
const (
	item      = "an_item.2019"
	front     = "archive.org"
	deadNode  = "ia900009.us.archive.org" // which the torrent names, and has it no longer
	oldNode   = "ia600001.us.archive.org"
	newNode   = "ia800002.us.archive.org"
	itemPiece = 32 << 10
)

// archive is a web as the Internet Archive's, with one item that has changed since its
// torrent was made.
type archive struct {
	content *swarmtest.Content
	torrent []byte
	files   map[string][]byte // what the servers have, by path in the item

	mu    sync.Mutex
	busy  int  // answers of 503 that are due
	moved bool // the item is at newNode
}

// itemFiles are the item's files in the order of its torrent, each with padding to the
// next piece, and what the servers have of them by now: nil for the same.
func itemFiles() (files []swarmtest.File, now map[string][]byte) {
	now = map[string][]byte{}
	add := func(name string, length int, seed uint64) []byte {
		b := make([]byte, length)
		swarmtest.Fill(b, seed, 0)
		files = append(files, swarmtest.File{Path: strings.Split(name, "/"), Bytes: b})
		now[name] = b
		if gap := -length & (itemPiece - 1); gap > 0 {
			files = append(files, swarmtest.File{Path: []string{".____padding_file", fmt.Sprint(len(files))}, Length: int64(gap), Padding: true})
		}
		return b
	}
	add("film.mp4", 700_001, 1)
	add("Aldous+Huxley thumb.jpg", 7_001, 2)
	add("captions/small [en].srt", 5_003, 3)
	add("captions/größer & #1?.srt", 70_007, 4)
	now[item+"_meta.xml"] = append([]byte("changed "), add(item+"_meta.xml", 3_000, 5)...)
	same := slices.Clone(add(item+"_files.xml", 9_000, 6)) // as long as it was
	same[8_000]++
	now[item+"_files.xml"] = same
	now[item+"_reviews.xml"] = add(item+"_reviews.xml", 40_000, 7)[:1_000]
	return files, now
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	files, now := itemFiles()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{Name: item, PieceLength: itemPiece, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{content: c, files: now, busy: 2}
	a.torrent = c.Torrent(swarmtest.Hints{WebSeeds: []string{"https://" + front + "/download/", "http://" + deadNode + "/9/items/"}})
	return a
}

// ServeHTTP implements http.Handler.
func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, inside := "/download/"+item+"/", ""
	node := oldNode + "/14/items/"
	if a.moved {
		node = newNode + "/7/items/"
	}
	switch r.Host {
	case front:
		name, ok := strings.CutPrefix(r.URL.Path, at)
		switch {
		case ok && name == item+"_archive.torrent":
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.torrent))
		case ok && a.busy > 0:
			// It says when to come again in both forms.
			again := "1"
			if a.busy--; a.busy == 0 {
				again = time.Now().Add(1500 * time.Millisecond).UTC().Format(http.TimeFormat)
			}
			w.Header().Set("Retry-After", again)
			w.WriteHeader(http.StatusServiceUnavailable)
		case ok:
			http.Redirect(w, r, "http://"+node+item+"/"+strings.ReplaceAll(url.PathEscape(name), "%2F", "/"), http.StatusFound)
		default:
			http.NotFound(w, r)
		}
		return
	case oldNode:
		inside = "/14/items/"
		if a.moved { // to another node and bucket, with a '+' that is escaped now
			name := strings.TrimPrefix(r.URL.EscapedPath(), inside)
			http.Redirect(w, r, "https://"+node+strings.ReplaceAll(name, "+", "%2B"), http.StatusMovedPermanently)
			return
		}
	case newNode:
		inside = "/7/items/"
	}
	file, ok := a.files[strings.TrimPrefix(r.URL.Path, inside+item+"/")]
	switch {
	case !ok:
		http.NotFound(w, r)
	case len(file) < 6_000: // small files are sent whole
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		_, _ = w.Write(file)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}
}

// move takes the item to another node.
func (a *archive) move() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moved = true
}

// TestItem adds an item of the Internet Archive by the address of its page, and reads
// it without any peer: all that the servers have as the torrent has it is right, the
// rest fails at once, and weir says why.
func TestItem(t *testing.T) {
	a := newArchive(t)
	world := weirtest.OpenWorld(t, []string{front, oldNode, newNode, deadNode}, a)
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--read-timeout=2m")...)
	out, err := weirOut(t, "add", m.Dir, "https://"+front+"/details/"+item+"?tab=about")
	if err != nil || !strings.Contains(out, item) {
		t.Fatalf("weir add: %v\n%s", err, out)
	}

	info := a.content.Info()
	stale := []string{item + "_meta.xml", item + "_files.xml", item + "_reviews.xml"}
	read := func(i int) error {
		f := info.Files[i]
		want := make([]byte, f.Length)
		if _, err := a.content.ReadAt(want, f.Offset); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(m.Path(append([]string{item}, f.Path...)...))
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%v: not what was published", f.Path)
		}
		return err
	}
	for i, f := range info.Files {
		if name := path.Join(f.Path...); !f.Padding && !slices.Contains(stale, name) {
			if err := read(i); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for i, f := range info.Files {
		if name := path.Join(f.Path...); slices.Contains(stale, name) {
			begin := time.Now()
			if err := read(i); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want EIO", name, err)
			}
			t.Logf("%s failed after %v", name, time.Since(begin))
		}
	}
	for _, u := range world.Asked() {
		if strings.Contains(u, "padding") {
			t.Errorf("asked for padding: %s", u)
		}
	}

	for _, says := range []struct {
		flag string
		want []string // as regular expressions
	}{
		{"--json=false", []string{
			`web seed +https://archive\.org/download/: `,
			`the server has another version`,
			`changed there +` + item + `_meta\.xml, ` + item + `_files\.xml, ` + item + `_reviews\.xml`,
			`newer torrent +probably https://archive\.org/download/` + item + `/` + item + `_archive\.torrent`,
		}},
		{"--json", []string{`"newer_torrent": "https://archive\.org/`, `"stale_files": \[\s+"` + item + `_meta.xml"`}},
	} {
		for timeout := time.After(30 * time.Second); ; { // what it tells is a second old at most
			out, err := weirOut(t, "status", says.flag, m.Path(item))
			lacks := slices.IndexFunc(says.want, func(want string) bool { return !regexp.MustCompile(want).MatchString(out) })
			if err == nil && lacks < 0 {
				break
			}
			select {
			case <-timeout:
				t.Fatalf("weir status: %v; it lacks %q:\n%s", err, says.want[max(lacks, 0)], out)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if out, err := weirOut(t, "ls", m.Dir); err != nil || !regexp.MustCompile(`PEERS +WEB .*\n`+item+` .* 0 +[12] `).MatchString(out) {
		t.Errorf("weir ls: %v\n%s", err, out)
	}
	seeds := make([]byte, 1000)
	if n, err := unix.Getxattr(m.Path(item), "user.weir.webseeds", seeds); err != nil || !strings.Contains(string(seeds[:n]), "https://archive.org/download/ ") {
		t.Errorf("the attribute: %q, %v", seeds[:n], err)
	}

	// The item moves to another node; what was read is dropped and read again.
	a.move()
	if out, err := weirOut(t, "evict", m.Path(item)); err != nil {
		t.Fatalf("weir evict: %v\n%s", err, out)
	}
	before := len(world.Asked())
	for _, f := range info.Files {
		if !f.Padding {
			dropPages(t, m.Path(append([]string{item}, f.Path...)...))
		}
	}
	for i, f := range info.Files {
		if name := path.Join(f.Path...); !f.Padding && !slices.Contains(stale, name) {
			if err := read(i); err != nil {
				t.Errorf("%s, after the item has moved: %v", name, err)
			}
		}
	}
	again := world.Asked()[before:]
	if !slices.ContainsFunc(again, func(u string) bool {
		return strings.HasPrefix(u, "https://"+newNode+"/7/items/"+item+"/Aldous%2BHuxley%20thumb.jpg")
	}) {
		t.Errorf("the new node was not asked: %q", again)
	}
	m.Unmount(t)
}

// dropPages makes the kernel forget what was read of a file.
func dropPages(tb testing.TB, path string) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		tb.Fatal(err)
	}
}

// TestPages: the addresses of pages lead to the torrents of their items.
func TestPages(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "data", PieceLength: itemPiece, Files: []swarmtest.File{{Path: []string{"set.csv"}, Length: 100_000, Seed: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive(t)
	a.busy = 0
	hash := c.InfoHash().String()
	const academic = "academictorrents.com"
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != academic:
			a.ServeHTTP(w, r)
		case r.URL.Path == "/download/"+hash+".torrent":
			_, _ = w.Write(c.Torrent(swarmtest.Hints{WebSeeds: []string{"http://" + academic + "/files/"}}))
		case r.URL.Path == "/files/data/set.csv":
			http.ServeContent(w, r, "", time.Time{}, c.FileReader(0))
		default:
			http.NotFound(w, r)
		}
	})
	world := weirtest.OpenWorld(t, []string{front, oldNode, academic}, serve)
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir)...)
	for page, file := range map[string]string{
		"https://archive.org/download/" + item:               item + "/film.mp4",
		"https://academictorrents.com/details/" + hash:       "data/set.csv",
		"https://www.archive.org/details/" + item + "/x.mp4": item + "/film.mp4", // known by now or then
	} {
		if out, err := weirOut(t, "add", m.Dir, page); err != nil {
			t.Errorf("weir add %s: %v\n%s", page, err, out)
			continue
		}
		of, index := a.content, 0
		if strings.HasPrefix(file, "data") {
			of = c
		}
		want, err := of.FileSHA256(index)
		if err != nil {
			t.Fatal(err)
		}
		wantSum(t, m.Path(file), fmt.Sprintf("%x", want))
	}
	if out, err := weirOut(t, "add", m.Dir, "https://archive.org/details/no_such_item"); err == nil || !strings.Contains(out+err.Error(), "404") {
		t.Errorf("an item that isn't there: %v\n%s", err, out)
	}
	for _, u := range world.Asked() {
		if strings.Contains(u, "/details/") {
			t.Errorf("a page was asked for: %s", u)
		}
	}
	m.Unmount(t)
}
