package fs

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
)

// FakePiece is the piece length of fake torrents, bytes.
const FakePiece = 256 << 10

// FakeCreated is the creation date of fake torrents.
var FakeCreated = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// FakeTorrent is a torrent in memory. What it does not hold never arrives by
// itself: reads wait until Hold, Fail or their context.
type FakeTorrent struct {
	ih     weir.InfoHash
	info   *weir.TorrentInfo // also while a magnet's is not known yet
	data   []byte            // the whole content; nil: all zero and held
	known  chan struct{}     // closed when the metadata is known
	Opened atomic.Int32      // files that are open now
	Waits  atomic.Int32      // ReadAt calls that wait now
	Infos  atomic.Int32      // Info calls so far
	Looks  atomic.Int32      // WaitInfo calls so far
	Peers  atomic.Int32      // connected, beside those that Status makes up

	left atomic.Int64 // how long the last WaitInfo might wait, ns

	mu      sync.Mutex
	held    []bool
	fail    error
	refuse  error         // of OpenFile
	by      Opener        // of the last one
	changed chan struct{} // closed and renewed at every change
}

// FakeFile describes a file of a fake torrent.
type FakeFile struct {
	Path       string // with '/'
	Length     int64
	Padding    bool
	Executable bool
	Link       string // the target, from the torrent's folder on; has no length
}

// FakeInfo makes the metadata of a torrent of these files.
func FakeInfo(name string, files ...FakeFile) *weir.TorrentInfo {
	info := &weir.TorrentInfo{InfoHash: sha1.Sum([]byte(name)), Name: name, PieceLength: FakePiece, Created: FakeCreated}
	for _, f := range files {
		info.Files = append(info.Files, weir.FileInfo{Path: strings.Split(f.Path, "/"), Offset: info.Length, Length: f.Length, Padding: f.Padding, Executable: f.Executable, Link: f.Link})
		info.Length += f.Length
	}
	return info
}

// FakeMany makes the metadata of folders × files small files, in order.
func FakeMany(name string, folders, files int, length int64) *weir.TorrentInfo {
	info := &weir.TorrentInfo{InfoHash: sha1.Sum([]byte(name)), Name: name, PieceLength: FakePiece, Created: FakeCreated}
	for d := range folders {
		dir := fmt.Sprintf("folder-%04d", d)
		for i := range files {
			info.Files = append(info.Files, weir.FileInfo{Path: []string{dir, fmt.Sprintf("file-%06d.bin", i)}, Offset: info.Length, Length: length})
			info.Length += length
		}
	}
	return info
}

// NewFakeTorrent returns a torrent whose metadata is known and which holds
// everything.
func NewFakeTorrent(info *weir.TorrentInfo) *FakeTorrent {
	t := NewFakeMagnet(info)
	t.Learn()
	return t
}

// NewFakeZeros is a torrent of zeros that costs no memory, all of it held.
func NewFakeZeros(info *weir.TorrentInfo) *FakeTorrent {
	t := &FakeTorrent{ih: info.InfoHash, info: info, known: make(chan struct{}), changed: make(chan struct{})}
	t.Learn()
	return t
}

// NewFakeMagnet returns a torrent whose metadata becomes known with Learn.
func NewFakeMagnet(info *weir.TorrentInfo) *FakeTorrent {
	t := &FakeTorrent{ih: info.InfoHash, info: info, known: make(chan struct{}), changed: make(chan struct{}), data: make([]byte, info.Length)}
	x := uint64(info.Length)*0x9E3779B97F4A7C15 + 1
	for i := range t.data {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		t.data[i] = byte(x)
	}
	t.held = make([]bool, info.NumPieces())
	for i := range t.held {
		t.held[i] = true
	}
	return t
}

// Content returns what file index holds.
func (t *FakeTorrent) Content(index int) []byte {
	r := t.info.Files[index].Range()
	return t.data[r.Off:r.End]
}

// Learn makes the metadata known.
func (t *FakeTorrent) Learn() { close(t.known) }

// Hold says whether the pieces of r are held.
func (t *FakeTorrent) Hold(r weir.Range, held bool) {
	t.change(func() {
		for first, end := t.info.Pieces(r); first < end; first++ {
			t.held[first] = held
		}
	})
}

// HoldAll says whether everything is held.
func (t *FakeTorrent) HoldAll(held bool) { t.Hold(weir.Range{End: t.info.Length}, held) }

// Fail makes everything that waits, now and later, fail with err.
func (t *FakeTorrent) Fail(err error) { t.change(func() { t.fail = err }) }

func (t *FakeTorrent) change(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
	close(t.changed)
	t.changed = make(chan struct{})
}

// FakeAdded is when fake torrents were added.
var FakeAdded = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func (t *FakeTorrent) Added() time.Time { return FakeAdded }

func (t *FakeTorrent) InfoHash() weir.InfoHash { return t.ih }

func (t *FakeTorrent) Info() *weir.TorrentInfo {
	t.Infos.Add(1)
	select {
	case <-t.known:
		return t.info
	default:
		return nil
	}
}

func (t *FakeTorrent) Outline() (Outline, bool) {
	select {
	case <-t.known:
		all := weir.Range{End: t.info.Length}
		return Outline{Length: t.info.Length, Held: t.HeldBytes(all), Files: len(t.info.Files), Created: t.info.Created}, true
	default:
		return Outline{}, false
	}
}

// Status counts the range's bytes as peers, so that tests see what is asked for.
func (t *FakeTorrent) Status(r weir.Range) Status {
	return Status{Peers: int(r.Len()) + int(t.Peers.Load()), Seeds: 1, Availability: 1.5, State: "warm", Wait: "no peer has it", WebSeeds: "http://h/ ready 0\n"}
}

func (t *FakeTorrent) WaitInfo(ctx context.Context) (*weir.TorrentInfo, error) {
	if end, ok := ctx.Deadline(); ok {
		t.left.Store(int64(time.Until(end)))
	}
	t.Looks.Add(1)
	t.mu.Lock()
	fail := t.fail
	t.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	select {
	case <-t.known:
		return t.info, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for metadata: %w", ctx.Err())
	}
}

func (t *FakeTorrent) HeldBytes(r weir.Range) int64 {
	if t.data == nil {
		return r.Len()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := int64(0)
	for first, end := t.info.Pieces(r); first < end; first++ {
		if t.held[first] {
			n += t.info.PieceRange(first).Intersect(r).Len()
		}
	}
	return n
}

func (t *FakeTorrent) OpenFile(index int, by Opener) (File, error) {
	t.mu.Lock()
	refuse := t.refuse
	t.by = by
	t.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	t.Opened.Add(1)
	return &fakeFile{t: t, r: t.info.Files[index].Range()}, nil
}

// Left returns how long the last wait for metadata might have taken.
func (t *FakeTorrent) Left() time.Duration { return time.Duration(t.left.Load()) }

// Refuse makes OpenFile fail with err.
func (t *FakeTorrent) Refuse(err error) { t.change(func() { t.refuse = err }) }

// OpenedBy returns who opened a file last.
func (t *FakeTorrent) OpenedBy() Opener {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by
}

// has returns whether r is held, and what to wait for if it is not.
func (t *FakeTorrent) has(r weir.Range) (bool, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for first, end := t.info.Pieces(r); first < end; first++ {
		if !t.held[first] {
			return false, t.changed, t.fail
		}
	}
	return true, nil, nil
}

type fakeFile struct {
	t *FakeTorrent
	r weir.Range
}

var zeros [1 << 20]byte

func (f *fakeFile) View(off int64, n int, use func([]byte)) (*weir.Miss, error) {
	if f.t.data == nil {
		use(zeros[:n])
		return nil, nil
	}
	r := weir.Range{Off: f.r.Off + off, End: f.r.Off + off + int64(n)}
	if held, _, _ := f.t.has(r); !held {
		return &weir.Miss{Range: r}, nil
	}
	use(f.t.data[r.Off:r.End])
	return nil, nil
}

func (f *fakeFile) Fetch(ctx context.Context, miss *weir.Miss, p []byte) error {
	f.t.Waits.Add(1)
	defer f.t.Waits.Add(-1)
	r := miss.Range
	if r.End > f.r.End || r.Len() != int64(len(p)) {
		return errors.New("read beyond the end of the file, or into a wrong buffer")
	}
	for {
		held, changed, err := f.t.has(r)
		if err != nil {
			return err
		}
		if held {
			copy(p, f.t.data[r.Off:r.End])
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("read at %d: %w", r.Off, ctx.Err())
		}
	}
}

func (f *fakeFile) Ahead() int64 { return 0 }

func (f *fakeFile) Close() error {
	f.t.Opened.Add(-1)
	return nil
}

// Eventually fails the test if cond does not come true within a generous time.
func Eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("%s: not within 15 s", what)
		}
	}
}

func TestMain(m *testing.M) {
	if runAsChild() {
		return
	}
	goleak.VerifyTestMain(m)
}
