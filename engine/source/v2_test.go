package source_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestParseV2Agrees compares with anacrolix's reader what both know.
func TestParseV2Agrees(t *testing.T) {
	for name, raw := range goodV2(t) {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(raw)
			if err != nil {
				t.Fatal(err)
			}
			checkSpec(t, spec)
			mi, err := metainfo.Load(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			info, err := mi.UnmarshalInfo()
			if err != nil {
				t.Fatal(err)
			}
			if spec.Info.V2 == info.HasV1() || spec.InfoHashV2 != sha256.Sum256(mi.InfoBytes) || len(spec.Trackers) != 1 || spec.Info.Created.IsZero() {
				t.Errorf("spec %+v", spec)
			}
			if !spec.Info.V2 {
				if spec.InfoHash != weir.InfoHash(mi.HashInfoBytes()) || spec.Roots != nil || !bytes.Equal(spec.PieceHashes, info.Pieces) {
					t.Errorf("of a hybrid, v1 is taken: %+v", spec)
				}
				return
			}
			if spec.InfoHash != source.Truncate(spec.InfoHashV2) || spec.Info.NumPieces() != info.NumPieces() {
				t.Errorf("%d pieces, want %d", spec.Info.NumPieces(), info.NumPieces())
			}
			i := 0
			for _, f := range info.UpvertedFiles() {
				if f.Length == 0 {
					continue // theirs shows links
				}
				for spec.Info.Files[i].Padding || spec.Info.Files[i].Length == 0 {
					i++
				}
				got := spec.Info.Files[i]
				if path := f.BestPath(); len(path) > 0 && !reflect.DeepEqual(got.Path, path) {
					t.Errorf("file %d is %q, want %q", i, got.Path, path)
				}
				if got.Length != f.Length || got.Offset != f.TorrentOffset || spec.Roots[i] != f.PiecesRoot.Value {
					t.Errorf("file %d is %+v, root %x, want %+v", i, got, spec.Roots[i], f)
				}
				i++
			}
		})
	}
}

func TestParseV2Files(t *testing.T) {
	good := goodV2(t)
	pad := func(off, n int64) weir.FileInfo {
		return weir.FileInfo{Path: []string{".pad"}, Offset: off, Length: n, Padding: true}
	}
	hybridPad := pad(100_000, 4*v2Piece-100_000)
	hybridPad.Path = []string{".pad", fmt.Sprint(hybridPad.Length)}
	sample := []weir.FileInfo{
		{Path: []string{"a"}, Length: 100_000},
		{Path: []string{"b"}, Offset: 100_000},
		pad(100_000, 4*v2Piece-100_000),
		{Path: []string{"dir", "c"}, Offset: 4 * v2Piece, Length: v2Piece},
		{Path: []string{"dir", "d", "e"}, Offset: 5 * v2Piece, Length: 1},
		pad(5*v2Piece+1, v2Piece-1),
		{Path: []string{"f"}, Offset: 6 * v2Piece, Length: v2Piece + 1},
	}
	for name, want := range map[string]struct {
		files []weir.FileInfo
		name  string
		known bool // the hashes of all pieces
	}{
		"V2":            {sample, "folder", true},
		"V2NoLayers":    {sample, "folder", false},
		"V2Single":      {[]weir.FileInfo{{Path: []string{"film.mkv"}, Length: 100_000}}, "film.mkv", true},
		"V2OneOfFolder": {[]weir.FileInfo{{Path: []string{"film.mkv"}, Length: 100_000}}, "folder", false},
		"V2ZeroBytes":   {[]weir.FileInfo{{Path: []string{"a"}}, {Path: []string{"b", "c"}}}, "folder", true},
		"V2Attributes": {[]weir.FileInfo{
			{Path: []string{"folder", "a"}, Length: 1},
			{Path: []string{"link"}, Offset: 1, Hidden: true},
			pad(1, v2Piece-1),
			{Path: []string{"run"}, Offset: v2Piece, Length: 5, Executable: true},
			{Path: []string{"z"}, Offset: v2Piece + 5},
		}, "folder", true},
		"Hybrid": {[]weir.FileInfo{
			{Path: []string{"a"}, Length: 100_000},
			hybridPad,
			{Path: []string{"b"}, Offset: 4 * v2Piece},
			{Path: []string{"dir", "c"}, Offset: 4 * v2Piece, Length: 5},
		}, "folder", true},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(good[name])
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(spec.Info.Files, want.files) {
				t.Errorf("files %+v\nwant  %+v", spec.Info.Files, want.files)
			}
			if spec.Info.Single != (want.name == "film.mkv") || spec.Name != want.name || spec.Info.Name != want.name {
				t.Errorf("single %v, name %q, %q", spec.Info.Single, spec.Name, spec.Info.Name)
			}
			if known := spec.PieceHashes != nil; known != want.known {
				t.Errorf("hashes known: %v", known)
			}
		})
	}
	// The hashes stand in the order of pieces, a file of one piece has its root.
	spec, err := source.ParseTorrent(good["V2"])
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, f := range [][2]int{{100_000, 1}, {v2Piece, 2}, {1, 3}, {v2Piece + 1, 4}} {
		root, layer := treeOf(content(f[0], byte(f[1])))
		if want = append(want, layer...); layer == "" {
			want = append(want, root[:]...)
		}
	}
	if !bytes.Equal(spec.PieceHashes, want) {
		t.Error("piece hashes are wrong")
	}
}

// TestWithInfo takes the metadata of each torrent by each name that it has.
func TestWithInfo(t *testing.T) {
	for name, raw := range goodV2(t) {
		t.Run(name, func(t *testing.T) {
			whole, err := source.ParseTorrent(raw)
			if err != nil {
				t.Fatal(err)
			}
			v1, v2 := infoHash(whole.InfoBytes), sha256.Sum256(whole.InfoBytes)
			for _, magnet := range []string{
				fmt.Sprintf("magnet:?xt=urn:btmh:1220%x&dn=shown", v2),
				fmt.Sprintf("magnet:?xt=urn:btih:%s&dn=shown", source.Truncate(v2)),
				fmt.Sprintf("magnet:?xt=urn:btih:%s&dn=shown", v1),
				fmt.Sprintf("magnet:?xt=urn:btih:%s&xt=urn:btmh:1220%x&dn=shown", v1, v2),
			} {
				spec, err := source.ParseMagnet(magnet)
				if err != nil {
					t.Fatal(err)
				}
				got, err := spec.WithInfo(whole.InfoBytes)
				if spec.InfoHash == v1 && whole.Info.V2 {
					if !errors.Is(err, weir.ErrInvalid) {
						t.Errorf("%s: a v2-only torrent under a v1 name: %v", magnet, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", magnet, err)
				}
				if got.InfoHash != spec.InfoHash || got.InfoHashV2 != v2 || got.Name != "shown" || got == spec || spec.Info != nil {
					t.Errorf("%s: %+v", magnet, got)
				}
				if got.Info.V2 != (spec.InfoHash != v1) {
					t.Errorf("%s: the wrong half", magnet)
				}
				checkSpec(t, got)
				if whole.Info.V2 && (got.Info.Length != whole.Info.Length || !reflect.DeepEqual(got.Roots, whole.Roots)) {
					t.Errorf("%s: %+v is not %+v", magnet, got, whole)
				}
			}
			for name, spec := range map[string]source.Spec{
				"OtherV1":      {InfoHash: weir.InfoHash{1}},
				"OtherV2":      {InfoHash: source.Truncate(v2), InfoHashV2: [32]byte{1}},
				"V1AndOtherV2": {InfoHash: v1, InfoHashV2: [32]byte{1}},
			} {
				if _, err := spec.WithInfo(whole.InfoBytes); !errors.Is(err, weir.ErrCorrupt) {
					t.Errorf("%s: error %v, want ErrCorrupt", name, err)
				}
			}
		})
	}
	b := encode(t, single())
	for name, spec := range map[string]source.Spec{
		"V1UnderV2Name": {InfoHash: source.Truncate(sha256.Sum256(b))},
		"V1WithV2Name":  {InfoHash: infoHash(b), InfoHashV2: sha256.Sum256(b)},
	} {
		if _, err := spec.WithInfo(b); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", name, err)
		}
	}
}

// TestLoadV2Hash is about 64 digits on the command line.
func TestLoadV2Hash(t *testing.T) {
	t.Chdir(t.TempDir())
	text := hex.EncodeToString(sumV2[:])
	for _, arg := range []string{text, strings.ToUpper(text)} {
		spec, err := source.Loader{}.Load(t.Context(), arg)
		if err != nil || spec.InfoHash != source.Truncate(sumV2) || spec.InfoHashV2 != sumV2 {
			t.Errorf("%s: %+v, %v", arg, spec, err)
		}
	}
	for _, arg := range []string{strings.Repeat("0", 64), strings.Repeat("g", 64), text[1:]} {
		if _, err := (source.Loader{}).Load(t.Context(), arg); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("%s: error %v", arg, err)
		}
	}
}

// TestParseV2Memory is about few bytes that claim much.
func TestParseV2Memory(t *testing.T) {
	root := strings.Repeat("r", 32)
	huge := encode(t, dict{"info": dict{"name": "x", "piece length": 16 << 10, "meta version": 2, "file tree": dict{
		"a": dict{"": dict{"length": int64(1) << 35, "pieces root": root}}}}})
	var layers bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&layers, "32:%032d0:", i)
	}
	many := fmt.Appendf(nil, "d4:info%s12:piece layersd%see", encode(t, sampleTree()), layers.Bytes())
	for name, c := range map[string]struct {
		raw   []byte
		limit uint64
	}{"Pieces": {huge, 100 << 10}, "Layers": {many, 300 << 10}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := source.ParseTorrent(c.raw)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > c.limit {
			t.Errorf("%s: %d bytes allocated for %d, error %v", name, got, len(c.raw), err)
		}
	}
}

// checkSpec fails when one of the invariants that the rest of weir relies on does
// not hold.
func checkSpec(tb testing.TB, spec *source.Spec) {
	tb.Helper()
	if spec.InfoHash != spec.Info.InfoHash || spec.InfoHash.IsZero() {
		tb.Fatalf("info hash %s, %s", spec.InfoHash, spec.Info.InfoHash)
	}
	want := infoHash(spec.InfoBytes)
	if spec.Info.V2 {
		want = source.Truncate(spec.InfoHashV2)
	}
	if spec.InfoHash != want || spec.InfoHashV2 != [32]byte{} && spec.InfoHashV2 != sha256.Sum256(spec.InfoBytes) {
		tb.Fatalf("info hashes %s and %x", spec.InfoHash, spec.InfoHashV2)
	}
	checkInfo(tb, spec.Info, spec.PieceHashes)
	if !spec.Info.V2 {
		if spec.Roots != nil {
			tb.Fatalf("roots of a v1 torrent")
		}
		return
	}
	if len(spec.Roots) != len(spec.Info.Files) || spec.InfoHashV2 == [32]byte{} {
		tb.Fatalf("%d roots for %d files", len(spec.Roots), len(spec.Info.Files))
	}
	for i, f := range spec.Info.Files {
		hasBytes := f.Length > 0 && !f.Padding
		if (spec.Roots[i] != [32]byte{}) != hasBytes {
			tb.Fatalf("file %d: %+v has root %x", i, f, spec.Roots[i])
		}
	}
}

// checkLayoutV2 fails when files do not lie as BEP 52 says.
func checkLayoutV2(tb testing.TB, info *weir.TorrentInfo) {
	tb.Helper()
	if info.NumPieces() > 1<<21 {
		tb.Fatalf("%d pieces", info.NumPieces())
	}
	owner := make(map[int]int)
	for i, f := range info.Files {
		if f.Padding && f.Length > 0 && (f.Offset%info.PieceLength == 0 || f.Range().End%info.PieceLength != 0 || i == len(info.Files)-1) {
			tb.Fatalf("gap %d: %+v", i, f)
		}
		if f.Padding || f.Length == 0 {
			continue
		}
		first, end := info.Pieces(f.Range())
		if f.Offset%info.PieceLength != 0 || int64(first) != f.Offset/info.PieceLength || info.PieceRange(end-1).End != f.Range().End {
			tb.Fatalf("file %d: %+v in pieces %d to %d", i, f, first, end)
		}
		for _, p := range []int{first, end - 1} {
			if other, ok := owner[p]; ok && other != i {
				tb.Fatalf("piece %d has bytes of files %d and %d", p, other, i)
			}
			owner[p] = i
		}
	}
}

// TestParseSwarmtest reads what the test kit makes, which has BEP 52 from the page
// and not from here: layout, roots and hashes must be the same.
func TestParseSwarmtest(t *testing.T) {
	for name, v := range map[string]swarmtest.Version{"V1": swarmtest.V1, "V2": swarmtest.V2, "Hybrid": swarmtest.Hybrid} {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/Single=%v", name, single), func(t *testing.T) {
				files := []swarmtest.File{{Path: []string{"a", "b"}, Length: 300_001, Seed: 1}}
				if !single {
					files = append(files, swarmtest.File{Path: []string{"a", "c"}}, swarmtest.File{Path: []string{"d"}, Length: 64 << 10, Seed: 2},
						swarmtest.File{Path: []string{"e"}, Length: 5, Seed: 3, Executable: true}, swarmtest.File{Path: []string{"f"}, Length: 99_999, Seed: 3})
				}
				c, err := swarmtest.NewContent(swarmtest.ContentOptions{Name: "sample", Version: v, PieceLength: 64 << 10, Files: files, Single: single})
				if err != nil {
					t.Fatal(err)
				}
				spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
				if err != nil {
					t.Fatal(err)
				}
				checkSpec(t, spec)
				sum, _ := c.InfoHashV2()
				want := *c.Info()
				want.Hybrid = v == swarmtest.Hybrid
				want.Padded = want.Hybrid && !single
				if !reflect.DeepEqual(spec.Info, &want) || !bytes.Equal(spec.PieceHashes, c.PieceHashes()) || spec.InfoHashV2 != sum {
					t.Errorf("got  %+v\nwant %+v", spec.Info, c.Info())
				}
				if spec.Info.V2 && !reflect.DeepEqual(spec.Roots, c.Roots()) {
					t.Errorf("roots %x, want %x", spec.Roots, c.Roots())
				}
				magnet, err := source.ParseMagnet(c.Magnet(swarmtest.Hints{}))
				if err != nil || magnet.InfoHash != spec.InfoHash || magnet.InfoHashV2 != spec.InfoHashV2 {
					t.Errorf("magnet %+v, %v", magnet, err)
				}
			})
		}
	}
}
