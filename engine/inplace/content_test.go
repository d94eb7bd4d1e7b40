package inplace_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/inplace"
)

const pieceLength = 1000

// sample is a torrent and its files.
type sample struct {
	root   string
	info   *weir.TorrentInfo
	bytes  []byte // in torrent coordinates
	hashes [][sha1.Size]byte
	opener *inplace.Opener

	mu      sync.Mutex
	checked int
	lost    []int
}

// newSample writes files of these lengths, "0", "1", …; a negative length is padding.
func newSample(tb testing.TB, lengths ...int) *sample {
	tb.Helper()
	s := &sample{root: filepath.Join(tb.TempDir(), "sample"), opener: inplace.NewOpener()}
	tb.Cleanup(s.opener.Close)
	if err := os.Mkdir(s.root, 0o777); err != nil {
		tb.Fatal(err)
	}
	s.info = &weir.TorrentInfo{PieceLength: pieceLength}
	r := rand.NewChaCha8([32]byte{byte(len(lengths))})
	for i, n := range lengths {
		f := weir.FileInfo{Path: []string{name(i)}, Offset: s.info.Length, Length: int64(max(n, -n)), Padding: n < 0}
		b := make([]byte, f.Length)
		if !f.Padding {
			_, _ = r.Read(b)
			s.write(tb, i, b)
		} else {
			s.info.Padded = true
		}
		s.bytes = append(s.bytes, b...)
		s.info.Files = append(s.info.Files, f)
		s.info.Length += f.Length
	}
	for i := range s.info.NumPieces() {
		s.hashes = append(s.hashes, sha1.Sum(s.piece(i)))
	}
	s.settle(tb)
	return s
}

func name(i int) string { return string(rune('0' + i)) }

func (s *sample) path(i int) string { return filepath.Join(s.root, name(i)) }

func (s *sample) write(tb testing.TB, i int, b []byte) {
	tb.Helper()
	if err := os.WriteFile(s.path(i), b, 0o666); err != nil {
		tb.Fatal(err)
	}
}

// settle waits until a later change gives another stamp.
func (s *sample) settle(tb testing.TB) {
	tb.Helper()
	for i := range s.info.Files {
		for {
			st, err := os.Stat(s.path(i))
			if err != nil || time.Since(st.ModTime()) > 2*inplace.SettleTime {
				break
			}
			<-time.After(inplace.SettleTime)
		}
	}
}

func (s *sample) piece(i int) []byte {
	r := s.info.PieceRange(i)
	return s.bytes[r.Off:r.End]
}

func (s *sample) check(index int, blocks [][]byte) error {
	s.mu.Lock()
	s.checked++
	s.mu.Unlock()
	if sha1.Sum(bytes.Join(blocks, nil)) != s.hashes[index] {
		return weir.ErrCorrupt
	}
	return nil
}

func (s *sample) open(tb testing.TB) *inplace.Content {
	tb.Helper()
	c := inplace.New(inplace.Options{
		Root: s.root, Info: func() *weir.TorrentInfo { return s.info }, Check: s.check, Opener: s.opener,
		Lost: func(i int) { s.lost = append(s.lost, i) },
	})
	tb.Cleanup(c.Close)
	return c
}

// checkPieces reads all pieces, and compares which are there.
func (s *sample) checkPieces(tb testing.TB, c *inplace.Content, gone ...int) {
	tb.Helper()
	for i := range s.info.NumPieces() {
		got := make([]byte, len(s.piece(i)))
		ok, err := c.ReadAt(i, got, 0)
		if err != nil || ok == slices.Contains(gone, i) {
			tb.Errorf("piece %d: %v, %v", i, ok, err)
		}
		if ok && !bytes.Equal(got, s.piece(i)) {
			tb.Errorf("piece %d has other bytes", i)
		}
		if c.Has(i) == slices.Contains(gone, i) {
			tb.Errorf("Has(%d) = %v", i, c.Has(i))
		}
	}
}

func (s *sample) checkProblem(tb testing.TB, c *inplace.Content, file int, why string) {
	tb.Helper()
	all := c.Problems()
	if len(all) != 1 || all[0].Path != name(file) || !strings.Contains(all[0].Why, why) {
		tb.Errorf("problems: %v, want %s: %s", all, name(file), why)
	}
}

// TestReadAt: pieces are put together from files and padding, and each is hashed once.
func TestReadAt(t *testing.T) {
	s := newSample(t, 700, 0, 1, 2500, -799, 1500, -500, 10)
	c := s.open(t)
	s.checkPieces(t, c)
	checked := s.checked
	s.checkPieces(t, c)
	if checked != s.info.NumPieces() || s.checked != checked {
		t.Errorf("%d and then %d pieces were hashed, there are %d", checked, s.checked, s.info.NumPieces())
	}
	if !c.Complete() || c.Problems() != nil || len(s.lost) > 0 {
		t.Errorf("complete: %v, problems %v", c.Complete(), c.Problems())
	}
	got := make([]byte, 100)
	if ok, err := c.ReadAt(0, got, 650); !ok || err != nil || !bytes.Equal(got, s.bytes[650:750]) {
		t.Errorf("a part over three files: %v, %v", ok, err)
	}
	if !c.ViewRight(0, 650, 100, func(b []byte) { got = bytes.Clone(b) }) || !bytes.Equal(got, s.bytes[650:750]) {
		t.Error("the same part is not viewed")
	}
	for _, off := range []int64{-1, 950} {
		if ok, _ := c.ReadAt(0, got, off); ok {
			t.Errorf("100 bytes at %d of a piece of 1000 were read", off)
		}
	}
	if ok, _ := c.ReadAt(s.info.NumPieces(), got, 0); ok || c.ViewRight(-1, 0, 10, func([]byte) {}) {
		t.Error("a piece that is not there was read")
	}
}

// TestChanged: what changes is noticed before a wrong byte is read, whatever the times say;
// the other pieces go on.
func TestChanged(t *testing.T) {
	change := func(s *sample, b []byte) { // one byte in its second piece
		b[1700] ^= 1
		s.write(t, 0, b)
	}
	cases := map[string]struct {
		change func(s *sample, b []byte)
		gone   []int
		why    string
	}{
		"Byte": {change, []int{1}, "another than the torrent's"},
		"TimesSetBack": {func(s *sample, b []byte) {
			st, err := os.Stat(s.path(0))
			if err != nil {
				t.Fatal(err)
			}
			change(s, b)
			if err := os.Chtimes(s.path(0), st.ModTime(), st.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, []int{1}, "another than the torrent's"},
		"Replaced": {func(s *sample, b []byte) {
			b[2999] ^= 1
			s.write(t, 9, b)
			if err := os.Rename(s.path(9), s.path(0)); err != nil {
				t.Fatal(err)
			}
		}, []int{2}, "another than the torrent's"},
		"Longer":  {func(s *sample, b []byte) { s.write(t, 0, append(b, 0)) }, []int{0, 1, 2}, "it has 3001 bytes now, and had 3000"},
		"Shorter": {func(s *sample, b []byte) { s.write(t, 0, b[:2500]) }, []int{0, 1, 2}, "it has 2500 bytes now, and had 3000"},
		"Gone": {func(s *sample, _ []byte) {
			if err := os.Remove(s.path(0)); err != nil {
				t.Fatal(err)
			}
		}, []int{0, 1, 2}, "it is gone"},
		"Folder": {func(s *sample, _ []byte) {
			if err := errors.Join(os.Remove(s.path(0)), os.Mkdir(s.path(0), 0o777)); err != nil {
				t.Fatal(err)
			}
		}, []int{0, 1, 2}, "it is no file any more"},
		"Pipe": {func(s *sample, _ []byte) {
			if err := errors.Join(os.Remove(s.path(0)), unix.Mkfifo(s.path(0), 0o666)); err != nil {
				t.Fatal(err)
			}
		}, []int{0, 1, 2}, "it is no file any more"},
		"LinkOut": {func(s *sample, b []byte) {
			out := filepath.Join(filepath.Dir(s.root), "out")
			if err := errors.Join(os.WriteFile(out, b, 0o666), os.Remove(s.path(0)), os.Symlink(out, s.path(0))); err != nil {
				t.Fatal(err)
			}
		}, []int{0, 1, 2}, "escapes"},
	}
	for label, k := range cases {
		t.Run(label, func(t *testing.T) {
			s := newSample(t, 3000, 2000)
			c := s.open(t)
			s.checkPieces(t, c)
			k.change(s, slices.Clone(s.bytes[:3000]))
			s.checkPieces(t, c, k.gone...)
			s.checkProblem(t, c, 0, k.why)
			if !slices.Equal(s.lost, k.gone) || c.Complete() {
				t.Errorf("said to be lost: %v, want %v", s.lost, k.gone)
			}
			held := make([]bool, 5)
			c.Mark(held)
			for i := range held {
				if held[i] == slices.Contains(k.gone, i) {
					t.Errorf("marked: %v", held)
				}
			}
			// And the same when nothing was read before.
			s.checkPieces(t, s.open(t), k.gone...)
		})
	}
}

// TestTouched: a file that has other times and the same content goes on.
func TestTouched(t *testing.T) {
	s := newSample(t, 3000, 2000)
	c := s.open(t)
	s.checkPieces(t, c)
	checked := s.checked
	if err := os.Chmod(s.path(0), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.ViewRight(1, 0, 10, func([]byte) {}) {
		t.Error("read without hashing it again")
	}
	s.checkPieces(t, c)
	if c.Problems() != nil || s.checked == checked {
		t.Errorf("problems %v; %d pieces were hashed, then %d", c.Problems(), checked, s.checked)
	}
}

// TestLook: a file that is restored is served again, after it was hashed.
func TestLook(t *testing.T) {
	s := newSample(t, 3000, 2000)
	c := s.open(t)
	wrong := slices.Clone(s.bytes[:3000])
	wrong[5], wrong[2500] = ^wrong[5], ^wrong[2500]
	s.write(t, 0, wrong)
	s.checkPieces(t, c, 0, 2)
	if found := c.Look(); len(found) > 0 {
		t.Errorf("found %v in a file that did not change", found)
	}
	s.settle(t)
	s.write(t, 0, s.bytes[:3000])
	if found := c.Look(); !slices.Equal(found, []int{0, 2}) || c.Problems() != nil || !c.Complete() {
		t.Errorf("found %v, problems %v", found, c.Problems())
	}
	s.checkPieces(t, c)

	if err := os.Rename(s.path(1), s.path(9)); err != nil {
		t.Fatal(err)
	}
	s.checkPieces(t, c, 3, 4)
	c.Look()
	s.checkProblem(t, c, 1, "it is gone")
	if err := os.Rename(s.path(9), s.path(1)); err != nil {
		t.Fatal(err)
	}
	c.Look()
	s.checkPieces(t, c)
}

// TestRecentChange: a file that changed a moment ago may change again without another
// stamp, so its pieces are hashed each time.
func TestRecentChange(t *testing.T) {
	s := newSample(t, 1000)
	c := s.open(t)
	for range 20 {
		b := slices.Clone(s.bytes)
		s.write(t, 0, b)
		if ok, _ := c.ReadAt(0, make([]byte, 10), 0); !ok {
			t.Fatal("not read")
		}
		b[3]++
		s.write(t, 0, b)
		if ok, _ := c.ReadAt(0, make([]byte, 10), 0); ok {
			t.Fatal("a wrong piece was read")
		}
		s.write(t, 0, s.bytes)
		s.settle(t)
		if err := os.Chmod(s.path(0), 0o600); err != nil { // another stamp
			t.Fatal(err)
		}
		c.Look()
	}
}

// TestMissing: pieces that are known to be missing are not looked for.
func TestMissing(t *testing.T) {
	s := newSample(t, 3000)
	c := inplace.New(inplace.Options{
		Root: s.root, Info: func() *weir.TorrentInfo { return s.info }, Check: s.check, Opener: s.opener, Missing: inplace.Bits{0b10},
	})
	s.checkPieces(t, c, 1)
	if c.Complete() || c.Problems() != nil {
		t.Errorf("complete %v, problems %v", c.Complete(), c.Problems())
	}
	c.Close()
	s.checkPieces(t, c, 0, 1, 2)
}

// TestNames: no name of a torrent leads out of its folder.
func TestNames(t *testing.T) {
	for _, path := range [][]string{{"..", "out"}, {"../out"}, {"a/b"}, {""}, {"/etc/hostname"}} {
		s := newSample(t, 1000)
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.root), "out"), s.bytes, 0o666); err != nil {
			t.Fatal(err)
		}
		s.info.Files[0].Path = path
		c := s.open(t)
		if ok, err := c.ReadAt(0, make([]byte, 10), 0); ok || err != nil {
			t.Errorf("%q: %v, %v", path, ok, err)
		}
	}
}

// TestConcurrent: readers, a writer that changes the file back and forth, and looks.
func TestConcurrent(t *testing.T) {
	s := newSample(t, 3000, 2000)
	c := inplace.New(inplace.Options{Root: s.root, Info: func() *weir.TorrentInfo { return s.info }, Check: s.check, Opener: s.opener})
	defer c.Close()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			got := make([]byte, 100)
			for n := r; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				i, off := n%5, int64(n%10*100)
				if ok, err := c.ReadAt(i, got, off); err != nil || ok && !bytes.Equal(got, s.piece(i)[off:off+100]) {
					t.Errorf("piece %d: %v, or wrong bytes", i, err)
					return
				}
				c.Look()
			}
		})
	}
	f, err := os.OpenFile(s.path(0), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := range 200 {
		b := s.bytes[n*10 : n*10+10]
		if n%2 == 0 {
			b = make([]byte, 10)
		}
		if _, err := f.WriteAt(b, int64(n/2*2*10)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
}
