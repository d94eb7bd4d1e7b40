package foreign

import (
	_ "embed"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/publish"
	"github.com/weirfs/weir/engine/publish/metainfo"
)

// Making says what torrent to make.
type Making struct {
	Path       string // of the file or folder
	Announce   string // URL of its tracker
	PieceBytes int    // a power of two, 32 KiB at least
	Private    bool   // BEP 27
	Version    Property
	WebSeeds   []string // URLs (BEP 19); mktorrent and libtorrent only
}

// Maker makes .torrent files with one kind of tool.
type Maker struct {
	Name string
	// Make returns the path of the .torrent file.
	Make func(tb testing.TB, m Making) string
	// SkipsEmpty says that empty files don't get into the torrent.
	SkipsEmpty bool
	// Versions are what it can make.
	Versions []Property
}

// Makers are all whose torrents weir is tested with.
var Makers = []Maker{
	{Name: "mktorrent", Make: MkTorrent, Versions: []Property{V1}},
	{Name: "transmission-create", Make: TransmissionCreate, SkipsEmpty: true, Versions: []Property{V1}},
	{Name: "libtorrent", Make: LibtorrentMake, Versions: []Property{V1, Hybrid, V2}},
	{Name: "weir", Make: WeirMake, Versions: []Property{V1, Hybrid, V2}},
}

// MkTorrent makes a torrent with mktorrent.
func MkTorrent(tb testing.TB, m Making) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "made.torrent")
	args := []string{"-l", fmt.Sprint(bits.Len(uint(m.PieceBytes)) - 1), "-a", m.Announce, "-o", out}
	if m.Private {
		args = append(args, "-p")
	}
	for _, u := range m.WebSeeds {
		args = append(args, "-w", u)
	}
	run(tb, "mktorrent", append(args, m.Path)...)
	return out
}

// TransmissionCreate makes a torrent with transmission-create.
func TransmissionCreate(tb testing.TB, m Making) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "made.torrent")
	args := []string{"--piecesize", fmt.Sprint(m.PieceBytes >> 10), "--tracker", m.Announce, "--outfile", out}
	if m.Private {
		args = append(args, "--private")
	}
	run(tb, "transmission-create", append(args, m.Path)...)
	return out
}

//go:embed make.py
var makeScript string

// LibtorrentMake makes a torrent of any version with libtorrent.
func LibtorrentMake(tb testing.TB, m Making) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "made.torrent")
	version := map[Property]string{V1: "v1", Hybrid: "hybrid", V2: "v2"}[m.Version]
	run(tb, python, append([]string{"-c", makeScript, m.Path, out, m.Announce, fmt.Sprint(m.PieceBytes), version, fmt.Sprint(m.Private)}, m.WebSeeds...)...)
	return out
}

// WeirMake makes a torrent of any version with weir.
func WeirMake(tb testing.TB, m Making) string {
	tb.Helper()
	o := publish.Options{PieceLength: int64(m.PieceBytes), Details: metainfo.Details{Trackers: []string{m.Announce}, Private: m.Private}}
	o.Version = map[Property]metainfo.Version{V1: metainfo.V1, Hybrid: metainfo.Hybrid, V2: metainfo.V2}[m.Version]
	p, err := publish.Open(tb.Context(), m.Path, o)
	if err != nil {
		tb.Fatal(err)
	}
	made, err := p.Make(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(tb.TempDir(), "made.torrent")
	if err := os.WriteFile(out, made.Metainfo, 0o644); err != nil {
		tb.Fatal(err)
	}
	return out
}

// Magnet returns the magnet that libtorrent makes of a torrent, with the
// addresses of peers (x.pe, BEP 9) and without the torrent's trackers when
// there are any.
func Magnet(tb testing.TB, torrent string, peers ...string) string {
	tb.Helper()
	magnet := run(tb, python, "-c", "import libtorrent as lt, sys; print(lt.make_magnet_uri(lt.torrent_info(sys.argv[1])))", torrent)
	if len(peers) == 0 {
		return magnet
	}
	var kept []string
	for param := range strings.SplitSeq(magnet, "&") {
		if !strings.HasPrefix(param, "tr=") {
			kept = append(kept, param)
		}
	}
	for _, p := range peers {
		kept = append(kept, "x.pe="+p) // as BEP 9 shows it: libtorrent does not unescape this one
	}
	return strings.Join(kept, "&")
}

// Folder writes a folder named name with what is hard about names and sizes:
// nested folders, spaces, unicode, an empty file, files that share a piece and
// files that end beside the end of a piece. Names keep to what every client
// here can store: transmission replaces quotes. It returns its path.
func Folder(tb testing.TB, name string) string {
	tb.Helper()
	root := filepath.Join(tb.TempDir(), name)
	for path, size := range map[string]int{
		"README.txt":                       1234,
		"a film with spaces.mkv":           3<<20 + 17,
		"empty":                            0,
		"one":                              1,
		"exactly/one piece":                32 << 10,
		"exactly/one piece and one byte":   32<<10 + 1,
		"naïve/日本語/Ελληνικά.txt":           70_001,
		"naïve/emoji 🎬/clip #1 [100%].bin": 200_000,
		"deep/1/2/3/4/5/6/7/leaf":          16_385,
		"deep/1/2/sibling's & co":          5_000,
	} {
		Fill(tb, filepath.Join(root, filepath.FromSlash(path)), size)
	}
	return root
}

// Fill writes a file of size bytes that look random and depend only on its name
// and size, with the folders above it.
func Fill(tb testing.TB, path string, size int) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	var key [32]byte
	copy(key[:], fmt.Sprintf("%d %s", size, filepath.Base(path)))
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	if err := os.WriteFile(path, b, 0o644); err != nil {
		tb.Fatal(err)
	}
}
