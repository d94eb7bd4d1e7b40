package publish_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/publish"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source"
)

// makerScript makes torrents with libtorrent: a line with the kind, the piece length and
// the path each, and a line with the info dictionary and the hashes back. libtorrent
// before 2.0.13 writes the target of a link as it stands in the link, and not from the
// torrent's folder on (BEP 47), and a v1 torrent has its files in the order of the disk: for links
// in folders and for v1 its list of files is made here.
const makerScript = `
import json, os, sys, libtorrent as lt
C = lt.create_torrent
flags = {"hybrid": C.symlinks, "v1": C.v1_only | C.symlinks, "v2": C.v2_only | C.symlinks}
def add(fs, top, path):
    name = os.path.relpath(path, os.path.dirname(top))
    st = os.lstat(path)
    attr = lt.file_storage.flag_executable if st.st_mode & 0o100 else 0
    if os.path.islink(path):
        target = os.path.relpath(os.path.join(os.path.dirname(path), os.readlink(path)), top)
        fs.add_file(name, 0, attr | lt.file_storage.flag_symlink, 0, target)
    elif os.path.isdir(path):
        for leaf in sorted(os.listdir(path)): add(fs, top, os.path.join(path, leaf))
    else:
        fs.add_file(name, st.st_size, attr)
def nested(top):
    return any(os.path.islink(os.path.join(d, n)) for d, dirs, files in os.walk(top) if d != top for n in dirs + files)
for line in sys.stdin:
    kind, piece, path = line.rstrip("\n").split("\t")
    fs = lt.file_storage()
    if kind == "v1" or nested(path): add(fs, path, path)
    else: lt.add_files(fs, path, flags=C.symlinks)
    t = C(fs, int(piece), flags[kind])
    lt.set_piece_hashes(t, os.path.dirname(path))
    raw = lt.bencode(t.generate())
    ti = lt.torrent_info(lt.bdecode(raw))
    h = ti.info_hashes()
    print(json.dumps({"V1": str(h.v1) if h.has_v1() else "", "V2": str(h.v2) if h.has_v2() else "", "Info": ti.info_section().hex()}), flush=True)
`

// oracle is a running libtorrent.
type oracle struct {
	tb    testing.TB
	write func(line string)
	lines *bufio.Scanner
}

// made is what it made.
type made struct{ V1, V2, Info string }

func newOracle(tb testing.TB) *oracle {
	tb.Helper()
	if slices.Contains(strings.Split(os.Getenv("WEIR_SKIP_PEERS"), ","), "libtorrent") {
		tb.Skip("WEIR_SKIP_PEERS names libtorrent: weir's torrents are not compared with its own")
	}
	cmd := exec.CommandContext(tb.Context(), "/usr/bin/python3", "-c", makerScript)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("libtorrent (Debian: python3-libtorrent): %v", err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	o := &oracle{tb: tb, lines: bufio.NewScanner(out)}
	o.lines.Buffer(nil, 16<<20)
	o.write = func(line string) { _, _ = fmt.Fprintln(in, line) }
	return o
}

func (o *oracle) make(kind string, pieceLength int64, path string) (m made) {
	o.tb.Helper()
	o.write(fmt.Sprintf("%s\t%d\t%s", kind, pieceLength, path))
	if !o.lines.Scan() {
		o.tb.Fatalf("libtorrent (Debian: python3-libtorrent) made no torrent of %s: %v", path, o.lines.Err())
	}
	if err := json.Unmarshal(o.lines.Bytes(), &m); err != nil {
		o.tb.Fatal(err)
	}
	return m
}

var versions = map[string]metainfo.Version{"hybrid": metainfo.Hybrid, "v1": metainfo.V1, "v2": metainfo.V2}

// TestLikeLibtorrent makes torrents of random folders, and libtorrent makes them too:
// the info dictionaries are the same to the byte.
func TestLikeLibtorrent(t *testing.T) {
	o := newOracle(t)
	r := rand.New(rand.NewPCG(1, 14))
	for i := range 100 {
		path := randomTree(t, r)
		pieceLength := int64(0)
		if r.IntN(3) > 0 {
			pieceLength = 16 << 10 << r.IntN(4)
		}
		for kind, version := range versions {
			want := o.make(kind, pieceLength, path)
			got := publishAt(t, path, publish.Options{Version: version, PieceLength: pieceLength})
			checkMade(t, got.Spec, want)
			if info := hex.EncodeToString(got.Spec.InfoBytes); info != want.Info {
				t.Fatalf("tree %d, %s: weir made %q, libtorrent %q", i, kind, got.Spec.InfoBytes, unhex(t, want.Info))
			}
		}
	}
}

// checkMade compares the info hashes.
func checkMade(tb testing.TB, spec *source.Spec, want made) {
	tb.Helper()
	v1, v2 := spec.InfoHash.String(), ""
	if spec.Info.V2 {
		v1 = ""
	}
	if spec.InfoHashV2 != ([32]byte{}) {
		v2 = hex.EncodeToString(spec.InfoHashV2[:])
	}
	if v1 != want.V1 || v2 != want.V2 {
		tb.Errorf("info hashes %q and %q, libtorrent's are %q and %q", v1, v2, want.V1, want.V2)
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// publishAt makes a torrent.
func publishAt(tb testing.TB, path string, o publish.Options) *publish.Torrent {
	tb.Helper()
	p, err := publish.Open(tb.Context(), path, o)
	if err != nil {
		tb.Fatal(err)
	}
	made, err := p.Make(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if p.HashedBytes() != p.Layout().Bytes {
		tb.Errorf("%d bytes were hashed, %d are there", p.HashedBytes(), p.Layout().Bytes)
	}
	return made
}

// treeNames are hard to order: what sorts where is different component by component,
// in the whole path, and without regard to case.
var treeNames = []string{"a", "a-b", "a.b", "A", "b", "B", "é", "日本語", "z z", "~", "!", ".hidden", "a b.txt", "emoji 🎬", "0", "10", "9", "x%20y", "c'd & e", "README"}

// randomTree writes a folder, or a file, and returns its path.
func randomTree(tb testing.TB, r *rand.Rand) string {
	tb.Helper()
	top := filepath.Join(tb.TempDir(), treeNames[r.IntN(len(treeNames))]+"-top")
	if r.IntN(12) == 0 {
		writeRandom(tb, r, top, 1+r.IntN(200_000))
		return top
	}
	folders := []string{top}
	for range r.IntN(6) {
		dir := filepath.Join(folders[r.IntN(len(folders))], treeNames[r.IntN(len(treeNames))])
		if err := os.MkdirAll(dir, 0o777); err != nil {
			tb.Fatal(err)
		}
		folders = append(folders, dir)
	}
	var names []string
	links := r.IntN(2) == 0
	for i := range 1 + r.IntN(12) {
		name := filepath.Join(folders[r.IntN(len(folders))], treeNames[r.IntN(len(treeNames))]+[]string{"", ".x", "-1"}[r.IntN(3)])
		if i == 0 {
			name = filepath.Join(filepath.Dir(name), "one that is not empty")
		}
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		if links && i > 0 && r.IntN(4) == 0 {
			linkRandom(tb, r, name, append(slices.Clone(names), filepath.Join(top, "nowhere")))
			continue
		}
		sizes := []int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 1 + r.IntN(300_000), 128<<10 + 5}
		size := sizes[r.IntN(len(sizes))]
		if i == 0 {
			size = 40_000
		}
		writeRandom(tb, r, name, size)
		names = append(names, name)
	}
	return top
}

func linkRandom(tb testing.TB, r *rand.Rand, name string, targets []string) {
	tb.Helper()
	target, err := filepath.Rel(filepath.Dir(name), targets[r.IntN(len(targets))])
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		tb.Fatal(err)
	}
}

func writeRandom(tb testing.TB, r *rand.Rand, name string, size int) {
	tb.Helper()
	b := make([]byte, size)
	if r.IntN(8) > 0 { // else zeros: files of the same content
		_, _ = rand.NewChaCha8([32]byte{byte(r.Uint32()), byte(r.Uint32())}).Read(b)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		tb.Fatal(err)
	}
	mode := os.FileMode(0o666)
	if r.IntN(4) == 0 {
		mode = 0o777
	}
	if err := os.WriteFile(name, b, mode); err != nil {
		tb.Fatal(err)
	}
}

// TestPieceLengthsLikeLibtorrent asks both at the sizes where the choice changes.
func TestPieceLengthsLikeLibtorrent(t *testing.T) {
	_ = newOracle(t)
	var sizes []int64
	for _, at := range []int64{2684355, 10737418, 42949673, 171798692, 687194767, 2748779069, 10995116278, 43980465111, 175921860444, 703687441777} {
		sizes = append(sizes, at-1, at, at+1)
	}
	args := []string{"-c", `
import sys, libtorrent as lt
for size in sys.argv[1:]:
    fs = lt.file_storage()
    fs.add_file("a/b", int(size))
    print(lt.create_torrent(fs, 0, 0).piece_length())
`}
	for _, size := range sizes {
		args = append(args, fmt.Sprint(size))
	}
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Fields(out)
	for i, size := range sizes {
		l, err := metainfo.New([]metainfo.File{{Path: []string{"b"}, Length: size}}, metainfo.Shape{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(l.PieceLength); got != string(want[i]) {
			t.Errorf("%d bytes in pieces of %s, libtorrent's have %s", size, got, want[i])
		}
	}
}
