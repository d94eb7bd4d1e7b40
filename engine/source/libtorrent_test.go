package source_test

import (
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir/engine/source"
)

// makeScript makes a torrent of a folder with libtorrent and prints what libtorrent
// reads out of it again.
const makeScript = `
import json, sys, libtorrent as lt
folder, out, piece, kind = sys.argv[1:]
fs = lt.file_storage()
lt.add_files(fs, folder)
flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
t = lt.create_torrent(fs, int(piece), flags)
lt.set_piece_hashes(t, folder.rsplit("/", 1)[0])
open(out, "wb").write(lt.bencode(t.generate()))
ti = lt.torrent_info(out)
fs = ti.files()
h = ti.info_hashes()
json.dump({
    "V1": str(h.v1) if h.has_v1() else "", "V2": str(h.v2) if h.has_v2() else "",
    "Pieces": ti.num_pieces(),
    "Files": [{
        "Path": fs.file_path(i), "Length": fs.file_size(i), "Offset": fs.file_offset(i),
        "Root": str(fs.root(i)) if h.has_v2() else "",
    } for i in range(fs.num_files()) if not fs.file_flags(i) & lt.file_storage.flag_pad_file],
}, sys.stdout)
`

// TestParseLibtorrent reads torrents of all versions that libtorrent made (Debian:
// python3-libtorrent), and compares what both read out of them.
func TestParseLibtorrent(t *testing.T) {
	for name, files := range map[string]map[string]int{
		"Many": {
			"README.txt": 1234, "empty": 0, "one": 1, "exactly/a piece": 64 << 10, "exactly/and a byte": 64<<10 + 1, "blocks/15": 15 << 10,
			"blocks/17": 17 << 10, "blocks/33": 33 << 10, "big": 3<<20 + 17, "naïve/日本語": 200_000, "zzz": 0,
			"odd/5 pieces": 5*64<<10 - 1, "odd/4 pieces": 4 * 64 << 10, "odd/1.png": 100, "Odder": 70_000, "odd!": 70_001,
		},
		"One": {"film.mkv": 1_000_000},
	} {
		for _, kind := range []string{"v1", "v2", "hybrid"} {
			t.Run(name+"/"+kind, func(t *testing.T) { checkLibtorrent(t, kind, files) })
		}
	}
}

func checkLibtorrent(t *testing.T, kind string, files map[string]int) {
	root := filepath.Join(t.TempDir(), "sample")
	r := rand.NewChaCha8([32]byte{7})
	for name, n := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		b := make([]byte, n)
		_, _ = r.Read(b)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 1 {
		root = filepath.Join(root, "film.mkv")
	}
	torrent := filepath.Join(t.TempDir(), "made.torrent")
	cmd := exec.Command("/usr/bin/python3", "-c", makeScript, root, torrent, "65536", kind)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("libtorrent (Debian: python3-libtorrent): %v", err)
	}
	var want struct {
		V1, V2 string
		Pieces int
		Files  []struct {
			Path, Root     string
			Length, Offset int64
		}
	}
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	spec, err := source.Loader{}.Load(t.Context(), torrent)
	if err != nil {
		t.Fatal(err)
	}
	checkSpec(t, spec)
	wantHash, wantV2 := want.V1, want.V2
	if wantHash == "" {
		wantHash = want.V2[:40]
	}
	if wantV2 == "" {
		wantV2 = hex.EncodeToString(make([]byte, 32))
	}
	if spec.InfoHash.String() != wantHash || hex.EncodeToString(spec.InfoHashV2[:]) != wantV2 {
		t.Errorf("info hashes %s and %x, want %s and %s", spec.InfoHash, spec.InfoHashV2, wantHash, wantV2)
	}
	if spec.Info.NumPieces() != want.Pieces || spec.Info.V2 != (kind == "v2") || spec.PieceHashes == nil {
		t.Errorf("%d pieces, want %d; v2 %v", spec.Info.NumPieces(), want.Pieces, spec.Info.V2)
	}
	i := 0
	for _, w := range want.Files {
		for i < len(spec.Info.Files) && spec.Info.Files[i].Padding {
			i++
		}
		f := spec.Info.Files[i]
		path := filepath.Join(append([]string{spec.Info.Name}, f.Path...)...)
		if spec.Info.Single {
			path = f.Path[0]
		}
		// An empty file has no place; ours is before a gap and theirs behind it.
		if path != w.Path || f.Length != w.Length || f.Length > 0 && f.Offset != w.Offset {
			t.Errorf("file %d is %s %+v, want %+v", i, path, f, w)
		}
		if spec.Info.V2 && hex.EncodeToString(spec.Roots[i][:]) != w.Root {
			t.Errorf("%s: root %x, want %s", path, spec.Roots[i], w.Root)
		}
		i++
	}
	for ; i < len(spec.Info.Files); i++ {
		if !spec.Info.Files[i].Padding {
			t.Errorf("file %d: %+v is too much", i, spec.Info.Files[i])
		}
	}
	if spec.Info.Single != (len(files) == 1) {
		t.Errorf("single %v", spec.Info.Single)
	}
	if kind == "v2" && len(files) > 1 { // the same by its hash alone, as from peers
		bare := &source.Spec{InfoHash: spec.InfoHash, InfoHashV2: spec.InfoHashV2}
		again, err := bare.WithInfo(spec.InfoBytes)
		if err != nil || again.PieceHashes != nil || again.Info.Length != spec.Info.Length {
			t.Errorf("without layers: %+v, %v", again, err)
		}
	}
}
