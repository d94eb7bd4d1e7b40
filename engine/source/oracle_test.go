package source_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/source"
)

// oracleScript reads torrents and magnets, each with its length in 4 bytes before
// it, and answers each with a line of JSON: what libtorrent makes of it under its
// default limits. A torrent without metadata (it has a magnet-uri) and a magnet without
// any info hash are parsed, but no session adds them.
const oracleScript = `
import json, sys, libtorrent as lt
def torrent(b):
    ti = lt.load_torrent_buffer(b).ti
    if not ti.is_valid(): raise RuntimeError("no metadata")
    h, fs = ti.info_hashes(), ti.files()
    pad, v2 = lt.file_storage.flag_pad_file, h.has_v2()
    def path(i):
        try: return fs.file_path(i)
        except UnicodeError: return ""
    n = fs.num_files()
    return {
        "V1": str(h.v1) if h.has_v1() else "", "V2": str(h.v2) if v2 else "",
        "PieceLength": ti.piece_length() if n else 0, "Private": bool(n) and ti.priv(),
        "Hashes": "".join(ti.hash_for_piece(i).hex() for i in range(ti.num_pieces())) if n and h.has_v1() and not v2 else "",
        "Files": [{
            "Path": path(i), "Length": fs.file_size(i), "Offset": fs.file_offset(i), "Padding": bool(fs.file_flags(i) & pad),
            "Root": str(fs.root(i)) if v2 else "",
        } for i in range(n)],
    }
def magnet(b):
    h = lt.parse_magnet_uri(b.decode()).info_hashes
    if not h.has_v1() and not h.has_v2(): raise RuntimeError("no info hash")
    return {"V1": str(h.v1) if h.has_v1() else "", "V2": str(h.v2) if h.has_v2() else ""}
ask = {"torrent": torrent, "magnet": magnet}[sys.argv[1]]
while head := sys.stdin.buffer.read(4):
    b = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    try: out = ask(b)
    except RuntimeError as e: out = {"Refused": str(e)}
    print(json.dumps(out))
`

// verdict is libtorrent's answer.
type verdict struct {
	Refused     string
	V1, V2      string
	PieceLength int64
	Private     bool
	Hashes      string
	Files       []verdictFile
}

type verdictFile struct {
	Path, Root     string
	Length, Offset int64
	Padding        bool
}

// askLibtorrent hands all inputs to one process and returns its verdicts.
func askLibtorrent(tb testing.TB, kind string, inputs [][]byte) []verdict {
	tb.Helper()
	if slices.Contains(strings.Split(os.Getenv("WEIR_SKIP_PEERS"), ","), "libtorrent") {
		tb.Skip("WEIR_SKIP_PEERS names libtorrent: its verdicts are not asked for")
	}
	var in bytes.Buffer
	for _, b := range inputs {
		in.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		in.Write(b)
	}
	cmd := exec.CommandContext(tb.Context(), "/usr/bin/python3", "-c", oracleScript, kind)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8:surrogatepass")
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("libtorrent (Debian: python3-libtorrent): %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	verdicts := make([]verdict, len(inputs))
	for i := range verdicts {
		if err := dec.Decode(&verdicts[i]); err != nil {
			tb.Fatalf("verdict %d: %v", i, err)
		}
	}
	return verdicts
}

// oracleSeed and oracleCount say which inputs are made, and how many;
// WEIR_ORACLE=SEED,COUNT looks for longer.
func oracleSeed(tb testing.TB) (seed uint64, count int) {
	seed, count = 1, 4000
	if text, ok := os.LookupEnv("WEIR_ORACLE"); ok {
		a, b, _ := strings.Cut(text, ",")
		var err1, err2 error
		seed, err1 = strconv.ParseUint(a, 10, 64)
		count, err2 = strconv.Atoi(b)
		if err := errors.Join(err1, err2); err != nil {
			tb.Fatalf("WEIR_ORACLE=%s: %v", text, err)
		}
	}
	return seed, count
}

// TestOracleTorrents makes torrents that are wrong in a way or two and holds weir
// against libtorrent: what that opens, weir opens, and reads the same out of it.
func TestOracleTorrents(t *testing.T) {
	seed, count := oracleSeed(t)
	g := &oddTorrents{rand: rand.New(rand.NewPCG(seed, 0))}
	torrents := make([]oddTorrent, count)
	inputs := make([][]byte, count)
	for i := range torrents {
		torrents[i] = g.next()
		inputs[i] = torrents[i].raw
	}
	opened, same := 0, 0
	for i, v := range askLibtorrent(t, "torrent", inputs) {
		if v.Refused != "" {
			_, _ = source.ParseTorrent(inputs[i]) // must not panic
			continue
		}
		opened++
		o := &torrents[i]
		spec, err := source.ParseTorrent(o.raw)
		switch {
		case err != nil && slices.ContainsFunc(o.excuses(), func(says string) bool { return strings.Contains(err.Error(), says) }):
		case err != nil:
			t.Errorf("refused: %v\n%s\nof %q", err, strings.Join(o.done, "\n"), o.raw)
		default:
			checkSpec(t, spec)
			same++
			if diff := compareVerdict(spec, &v); diff != "" {
				t.Errorf("%s\n%s\nof %q", diff, strings.Join(o.done, "\n"), o.raw)
			}
		}
	}
	t.Logf("libtorrent opens %d of %d, weir %d of these", opened, count, same)
	if opened < count/4 || same < opened*9/10 {
		t.Errorf("libtorrent opens %d of %d, weir %d of these: the generator shows little", opened, count, same)
	}
}

// compareVerdict tells what differs, and nothing when that is only how names are
// shown.
func compareVerdict(spec *source.Spec, v *verdict) string {
	info := spec.Info
	ih := spec.InfoHash.String()
	if ih != v.V1 && (len(v.V2) < 40 || ih != v.V2[:40]) {
		return fmt.Sprintf("info hash %s, want %s or %s", ih, v.V1, v.V2)
	}
	if v2 := hex.EncodeToString(spec.InfoHashV2[:]); v.V2 != "" && v2 != v.V2 {
		return fmt.Sprintf("v2 info hash %s, want %s", v2, v.V2)
	}
	if info.PieceLength != v.PieceLength {
		return fmt.Sprintf("piece length %d, want %d", info.PieceLength, v.PieceLength)
	}
	if v.Private && !info.Private {
		return "not private"
	}
	if v.Hashes != "" && hex.EncodeToString(spec.PieceHashes) != v.Hashes {
		return "piece hashes differ"
	}
	// Padding shows up differently: libtorrent adds what v2 leaves out, and takes
	// files for it by other names.
	both := v.V2 == ""
	var ours []int
	for i, f := range info.Files {
		if both || !f.Padding {
			ours = append(ours, i)
		}
	}
	theirs := slices.DeleteFunc(slices.Clone(v.Files), func(f verdictFile) bool { return !both && f.Padding })
	if len(ours) != len(theirs) {
		return fmt.Sprintf("files %+v, want %+v", info.Files, v.Files)
	}
	seen := map[string]int{}
	for _, f := range theirs {
		seen[strings.ToLower(f.Path)]++
	}
	for k, i := range ours {
		f, w := &info.Files[i], &theirs[k]
		if f.Length != w.Length || f.Length > 0 && f.Offset != w.Offset {
			return fmt.Sprintf("file %d is %+v, want %+v", i, f, w)
		}
		if info.V2 && f.Length > 0 && hex.EncodeToString(spec.Roots[i][:]) != w.Root {
			return fmt.Sprintf("file %d has root %x, want %s", i, spec.Roots[i], w.Root)
		}
		names := f.Path
		if !info.Single {
			names = append([]string{info.Name}, names...)
		}
		path := strings.Join(names, "/")
		// Names that neither changes are the same.
		if plainPath(path) && strings.Count(path, "/") == len(names)-1 && plainPath(w.Path) && path != w.Path && len(theirs) > 1 && !f.Padding && !w.Padding && !numbered(path, w.Path) {
			return fmt.Sprintf("file %d is %q, want %q", i, path, w.Path)
		}
	}
	return ""
}

// plainPath reports whether libtorrent shows a path as it is.
func plainPath(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || len(name) >= 240 || len(name) == 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.") != "" {
			return false
		}
	}
	return true
}

// numbered reports whether theirs is path with a number for a name that is there
// twice.
func numbered(path, theirs string) bool {
	base, ext := path, ""
	if i := strings.LastIndexByte(path, '.'); i > strings.LastIndexByte(path, '/') {
		base, ext = path[:i], path[i:]
	}
	n, ok := strings.CutPrefix(theirs, base+".")
	n, ok2 := strings.CutSuffix(n, ext)
	return ok && ok2 && strings.Trim(n, "0123456789") == ""
}

// TestOracleMagnets does the same with magnets.
func TestOracleMagnets(t *testing.T) {
	seed, count := oracleSeed(t)
	g := &oddMagnets{rand: rand.New(rand.NewPCG(seed, 1))}
	magnets := make([]oddMagnet, count)
	inputs := make([][]byte, count)
	for i := range magnets {
		magnets[i] = g.next()
		inputs[i] = []byte(magnets[i].text)
	}
	opened := 0
	for i, v := range askLibtorrent(t, "magnet", inputs) {
		spec, err := source.ParseMagnet(magnets[i].text)
		if v.Refused != "" {
			continue
		}
		if magnets[i].noHex {
			if err != nil && !strings.Contains(err.Error(), "has no info hash") {
				t.Errorf("refused for another reason: %v\n%q", err, magnets[i].text)
			}
			continue
		}
		opened++
		if err != nil {
			t.Errorf("refused: %v\n%q", err, magnets[i].text)
			continue
		}
		if magnets[i].loose {
			continue
		}
		want, v2 := v.V1, hex.EncodeToString(spec.InfoHashV2[:])
		if want == "" {
			want = v.V2[:40]
		}
		if spec.InfoHash.String() != want || v.V2 != "" && v2 != v.V2 {
			t.Errorf("hashes %s and %s, want %s and %s\n%q", spec.InfoHash, v2, want, v.V2, magnets[i].text)
		}
	}
	t.Logf("libtorrent opens %d of %d", opened, count)
	if opened < count/8 {
		t.Errorf("libtorrent opens %d of %d: the generator shows little", opened, count)
	}
}
