package source_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weirfs/weir/engine/source/merkle"
)

// Bencode that may be wrong: string, int64, []any, ordered pairs, or raw text.
type (
	pairs []pair
	pair  struct {
		key   string
		value any
	}
	rawBencode string
)

func appendOdd(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return fmt.Appendf(b, "%d:%s", len(v), v)
	case int64:
		return fmt.Appendf(b, "i%de", v)
	case rawBencode:
		return append(b, v...)
	case []any:
		b = append(b, 'l')
		for _, e := range v {
			b = appendOdd(b, e)
		}
	case pairs:
		b = append(b, 'd')
		for _, p := range v {
			b = appendOdd(appendOdd(b, p.key), p.value)
		}
	default:
		panic(fmt.Sprintf("%T", v))
	}
	return append(b, 'e')
}

func (d pairs) sorted() pairs {
	slices.SortStableFunc(d, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	return d
}

// oddTorrent is a torrent and what was done to it.
type oddTorrent struct {
	raw  []byte
	tree any
	done []string
}

// excuses returns what weir may say when it refuses a torrent that libtorrent opens: a
// part of the error's text for each oddity that the torrent has.
func (o *oddTorrent) excuses() []string { return excuses(o.tree, 0) }

func excuses(v any, depth int) (may []string) {
	const maxName, maxFolders = 4096, 256
	switch v := v.(type) {
	case string: // of which we don't know whether it is a name
		if strings.IndexByte(v, 0) >= 0 && len(v) < 20 {
			may = append(may, "has a NUL in it")
		}
		if slices.Contains(strings.Split(v, "/"), "..") {
			may = append(may, "leaves its folder")
		}
		if len(v) > maxName {
			may = append(may, "more than 4096")
		}
	case []any:
		if len(v) > maxFolders && depth > 3 {
			may = append(may, "folders deep")
		}
		for _, e := range v {
			may = append(may, excuses(e, depth+1)...)
		}
	case pairs:
		seen := map[string]bool{}
		for _, p := range v {
			if seen[p.key] {
				may = append(may, "twice", "two info dictionaries")
			}
			seen[p.key] = true
			may = append(append(may, excuses(p.key, depth)...), excuses(p.value, depth+1)...)
		}
	}
	return may
}

// oddTorrents makes torrents of all versions and changes them at random.
type oddTorrents struct{ rand *rand.Rand }

func (g *oddTorrents) pick(of ...string) string { return of[g.rand.IntN(len(of))] }

// next makes a torrent with up to three changes.
func (g *oddTorrents) next() oddTorrent {
	o := oddTorrent{tree: g.valid()}
	for range g.rand.IntN(4) {
		o.tree = g.change(o.tree, &o.done)
	}
	o.raw = appendOdd(nil, o.tree)
	if g.rand.IntN(20) == 0 {
		o.done = append(o.done, "bytes behind")
		o.raw = append(o.raw, g.pick("x", "\n", "e", "de", "0")...)
	}
	return o
}

const oddPieceLength = 16 << 10

// valid makes a torrent that everybody opens.
func (g *oddTorrents) valid() any {
	info := pairs{{"name", g.pick("t", "folder", "film.mkv", "ä")}, {"piece length", int64(oddPieceLength)}}
	out := pairs{{"announce", "http://tracker.example/announce"}, {"created by", "x"}, {"creation date", int64(1_600_000_000)}}
	if g.rand.IntN(3) == 0 {
		out = append(out, pair{"encoding", g.pick("UTF-8", "GBK", "utf8", "none", "latin1")})
	}
	if g.rand.IntN(3) == 0 {
		out = append(out, pair{"url-list", "http://seed.example/"}, pair{"announce-list", []any{[]any{"udp://a.example:1"}}}, pair{"nodes", []any{[]any{"a.example", int64(1)}}})
	}
	if g.rand.IntN(5) == 0 {
		info = append(info, pair{"private", int64(g.rand.IntN(2))})
	}
	names := []string{"a", "b", "c.txt"}[:1+g.rand.IntN(3)]
	kind := g.pick("v1", "v1", "v1 single", "v2", "hybrid", "hybrid single")
	v1, v2 := strings.HasPrefix(kind, "v1") || strings.HasPrefix(kind, "hybrid"), !strings.HasPrefix(kind, "v1")
	single := strings.HasSuffix(kind, "single")
	if single {
		names = []string{info[0].value.(string)}
	}
	var files []any
	var tree, layers pairs
	total := int64(0)
	for i, name := range names {
		length := int64(g.rand.IntN(4*oddPieceLength) + 1)
		if !v2 && g.rand.IntN(8) == 0 {
			length = 0
		}
		if single {
			total = length
			if v1 {
				info = append(info, pair{"length", length})
			}
		} else if v1 {
			path := []any{name}
			if !v2 && g.rand.IntN(3) == 0 {
				path = []any{"dir", name}
			}
			f := pairs{{"length", length}, {"path", path}}
			if !v2 && g.rand.IntN(6) == 0 {
				f = append(f, pair{"attr", g.pick("x", "h", "p", "l", "")}, pair{"symlink path", []any{"a"}}, pair{"path.utf-8", []any{name}})
				if f[2].value == "l" {
					f[0].value, length = int64(0), 0
				}
			}
			files, total = append(files, f.sorted()), total+length
			if gap := -total & (oddPieceLength - 1); v2 && gap > 0 && i < len(names)-1 {
				files = append(files, pairs{{"attr", "p"}, {"length", gap}, {"path", []any{".pad", fmt.Sprint(gap)}}})
				total += gap
			}
		}
		if v2 {
			leaf, layer := g.leaf(length)
			tree, layers = append(tree, pair{name, pairs{{"", leaf}}}), append(layers, layer...)
		}
	}
	if v1 && !single {
		if total == 0 {
			files = append(files, pairs{{"length", int64(7)}, {"path", []any{"z"}}})
			total = 7
		}
		info = append(info, pair{"files", files})
	}
	if v1 {
		info = append(info, pair{"pieces", g.bytes(int((total+oddPieceLength-1)/oddPieceLength) * 20)})
	}
	if v2 {
		info = append(info, pair{"meta version", int64(2)}, pair{"file tree", tree.sorted()})
		out = append(out, pair{"piece layers", layers.sorted()})
	}
	return append(out, pair{"info", info.sorted()}).sorted()
}

func (g *oddTorrents) bytes(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + g.rand.IntN(255))
	}
	return string(b)
}

// leaf makes the properties of a file of a tree, and its piece layer.
func (g *oddTorrents) leaf(length int64) (leaf, layers pairs) {
	pieces := int((length + oddPieceLength - 1) / oddPieceLength)
	hashes := g.bytes(pieces * merkle.Size)
	root := hashes
	if pieces > 1 {
		sum := merkle.LayerRoot([]byte(hashes), 0)
		root = string(sum[:])
		layers = pairs{{root, hashes}}
	}
	return pairs{{"length", length}, {"pieces root", root}}, layers
}

// oddKeys are what a dictionary may have, at any place.
var oddKeys = []string{
	"", "announce", "announce-list", "attr", "codepage", "collections", "comment", "created by", "creation date", "encoding", "file tree", "files", "httpseeds",
	"info", "length", "magnet-uri", "md5sum", "meta version", "mtime", "name", "name.utf-8", "nodes", "path", "path.utf-8", "piece layers", "piece length",
	"pieces", "pieces root", "private", "profiles", "publisher", "root hash", "sha1", "signatures", "similar", "source", "ssl-cert", "symlink path", "url-list", "x",
}

var oddNames = []string{
	"", ".", "..", "...", "/", "/a", "a/", "a/b", "a//b", "./a", "../a", "a", "A", "b", "c.txt", "dir", " ", "a ", "a.", "~", "_", "a\\b", "C:", "con", "%2F", "%",
	"\xff", "\xc4\xa3", "\xb5\xb6", "ä", "日本", "\u202eb", "a\nb", "a\x1b[0m", "\x7f", "a\x00b", "1", "0", "-1", "p", "l", "x", "lx", "px", "utf-8", "\u00ad", "\ufeff", ".pad", "16384", "_____padding_file_1",
	strings.Repeat("n", 239), strings.Repeat("n", 240), strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("ü", 300), strings.Repeat("n", 4096), strings.Repeat("n", 5000),
}

// value makes a value that may be anything.
func (g *oddTorrents) value() any {
	switch g.rand.IntN(10) {
	case 0, 1, 2:
		return oddNames[g.rand.IntN(len(oddNames))]
	case 3, 4, 5:
		return []int64{0, 1, -1, 2, 3, 5, 10, 100, 16383, 16384, 16385, 32768, 65536, 1 << 20, 1<<29 - 1, 1 << 29, 1<<30 - 1, 1 << 30, math.MaxInt32, 1 << 31, 1 << 32, 1 << 40, 1<<48 - 1, 1 << 60, math.MaxInt64, math.MinInt64}[g.rand.IntN(26)]
	case 6:
		return []any{}
	case 7:
		return []any{g.value()}
	case 8:
		return []any{g.value(), g.value()}
	}
	switch g.rand.IntN(4) {
	case 0:
		return pairs{}
	case 1:
		return pairs{{"", pairs{{"length", int64(5)}, {"pieces root", g.bytes(32)}}}}
	case 2:
		return rawBencode(g.pick("i-0e", "i03e", "i99999999999999999999e", "i-99999999999999999999e", "02:ab", "i+1e", "ie", "i1.5e", "0:"))
	}
	return pairs{{g.key(), g.value()}}
}

func (g *oddTorrents) key() string { return oddKeys[g.rand.IntN(len(oddKeys))] }

// change makes one change somewhere in v.
func (g *oddTorrents) change(v any, done *[]string) any {
	// Go in, or stay here.
	switch v := v.(type) {
	case pairs:
		if i := g.rand.IntN(len(v) + 1); i < len(v) && g.rand.IntN(6) > 0 {
			v = slices.Clone(v)
			if g.rand.IntN(4) > 0 && v[i].key != "info" && v[i].key != "files" {
				// Most of what is around the info dictionary matters to nobody.
				for k := range v {
					if v[k].key == "info" || v[k].key == "files" && g.rand.IntN(2) == 0 {
						i = k
					}
				}
			}
			v[i].value = g.change(v[i].value, done)
			return v
		}
	case []any:
		if i := g.rand.IntN(len(v) + 1); i < len(v) && g.rand.IntN(6) > 0 {
			v = slices.Clone(v)
			v[i] = g.change(v[i], done)
			return v
		}
	}
	out := g.changeHere(v)
	*done = append(*done, fmt.Sprintf("%.200q becomes %.200q", appendOdd(nil, v), appendOdd(nil, out)))
	return out
}

func (g *oddTorrents) changeHere(v any) any {
	if g.rand.IntN(4) == 0 {
		return g.value()
	}
	switch v := v.(type) {
	case pairs:
		v = slices.Clone(v)
		i := g.rand.IntN(len(v) + 1)
		switch n := g.rand.IntN(8); {
		case n < 4:
			key := g.key()
			for k := range v {
				if v[k].key == key {
					v[k].value = g.value()
					return v
				}
			}
			return append(v, pair{key, g.value()}).sorted()
		case i == len(v):
			return append(v, pair{oddNames[g.rand.IntN(len(oddNames))], g.value()}).sorted()
		case n == 4:
			return slices.Delete(v, i, i+1)
		case n == 5:
			v[i].key = oddNames[g.rand.IntN(len(oddNames))]
			return v.sorted()
		case n == 6:
			g.rand.Shuffle(len(v), func(a, b int) { v[a], v[b] = v[b], v[a] })
			return v
		}
		return append(v, pair{v[i].key, g.value()}).sorted()
	case []any:
		v = slices.Clone(v)
		i := g.rand.IntN(len(v) + 1)
		switch n := g.rand.IntN(4); {
		case n == 0 || i == len(v):
			return slices.Insert(v, i, g.value())
		case n == 1:
			return slices.Delete(v, i, i+1)
		case n == 2:
			return append(v, v[i])
		}
		v[0], v[i] = v[i], v[0]
		return v
	case int64:
		return v + int64(g.rand.IntN(3)-1)
	case string:
		switch g.rand.IntN(5) {
		case 0:
			return v[:g.rand.IntN(len(v)+1)]
		case 1:
			return v + oddNames[g.rand.IntN(len(oddNames))]
		case 2:
			return oddNames[g.rand.IntN(len(oddNames))] + v
		case 3:
			return string(bytes.ToUpper([]byte(v)))
		}
		return oddNames[g.rand.IntN(len(oddNames))]
	}
	return g.value()
}

// oddMagnet is a magnet. noHex says that it has an info hash of the right length
// that is no hexadecimal, of which libtorrent takes what it can read; loose, that it
// has separators or letters in which libtorrent misses parameters that weir reads, or
// an info hash of zeros, which takes the place of another one there: weir passes it over.
type oddMagnet struct {
	text         string
	noHex, loose bool
}

type oddMagnets struct{ rand *rand.Rand }

func (g *oddMagnets) pick(of ...string) string { return of[g.rand.IntN(len(of))] }

func (g *oddMagnets) digits(n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.rand.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	oddHex    = "0123456789abcdef"
	oddBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

func (g *oddMagnets) next() (m oddMagnet) {
	var params []string
	topic := func() string {
		var hash, kind string
		switch g.rand.IntN(10) {
		case 0, 1, 2, 3:
			kind, hash = "urn:btih:", g.digits(40, oddHex)
		case 4:
			kind, hash = "urn:btih:", g.digits(32, oddBase32)
		case 5:
			kind, hash = "urn:btmh:", "1220"+g.digits(64, oddHex)
		case 6:
			kind, hash = "urn:btih:", g.pick(strings.Repeat("0", 40), strings.Repeat("A", 32), g.digits(39, oddHex), g.digits(64, oddHex), "")
		case 7:
			kind, hash = "urn:btmh:", g.pick("1220"+strings.Repeat("0", 64), "1114"+g.digits(40, oddHex), "1220", "")
		case 8:
			kind, hash = g.pick("urn:sha1:", "urn:ed2k:", "urn:", "", "URN:BTIH:", "urn:btih"), g.digits(32, oddBase32)
		case 9:
			kind, hash = "urn:btih:", g.pick(g.digits(40, "xyz"), g.digits(20, oddHex)+g.digits(20, "g"), g.digits(32, "1890="))
			m.noHex = true
		}
		switch g.rand.IntN(6) {
		case 0:
			hash = strings.ToUpper(hash)
		case 1, 2:
			hash = strings.ToLower(hash)
		}
		urn := kind + hash
		switch g.rand.IntN(12) {
		case 0:
			urn = strings.ReplaceAll(urn, ":", "%3a")
		case 1:
			m.noHex = m.noHex || len(hash) == 39 // and now 40
			urn += g.pick("%", "%2", "%zz", "%20", "+", " ", "=", "=x", "%00")
		}
		return g.pick("xt", "xt", "xt", "xt", "xt.1", "xt.22", "xt.", "xt.a", "XT", "t") + "=" + urn
	}
	for range g.pick("1", "1", "11", "111", "") {
		params = append(params, topic())
	}
	for range g.rand.IntN(4) {
		params = append(params, g.pick("dn", "tr", "tr.1", "ws", "so", "x.pe", "xl", "dht", "kt", "xs", "as", "mt", "x.pe.1", "x", "", "so.1", "amp;tr")+
			g.pick("=", "=", "=", "=", "", "==")+
			g.pick("", "a", "a%2Fb", "%", "%zz", "%1b%5d0", "http://a.example/", "udp://a.example:80", "udp://a", "http%3A%2F%2Fa%2Fb", "127.0.0.1:6881", "[::1]:6881", "::1:6881", "0.0.0.0:0",
				"127.0.0.1:99999", "a.example:1", ":", "0-2,5", ",,1", "1-", "-1", "5-2", "99999999999", "abc", "-5", "1&2", "+", " ", "\xff", "日", "\x00", strings.Repeat("x", 5000)))
	}
	g.rand.Shuffle(len(params), func(a, b int) { params[a], params[b] = params[b], params[a] })
	m.text = g.pick("magnet:?", "magnet:?", "magnet:?", "magnet:?", "magnet:?", "magnet:?", "MAGNET:?", "magnet:", "magnet://?", "magnet:?&") +
		strings.Join(params, g.pick("&", "&", "&", "&", "&", "&", "&amp;", "&&"))
	m.loose = strings.ContainsAny(m.text, ";TU") || strings.Contains(m.text, strings.Repeat("0", 40)) || strings.Contains(strings.ToUpper(m.text), strings.Repeat("A", 32)) || strings.Contains(m.text, "&&") || strings.Contains(m.text, "?&") ||
		strings.Contains(m.text, "%3a") || slices.ContainsFunc(params, func(p string) bool { return !strings.Contains(p, "=") || strings.ContainsAny(p, " +%&") })
	if !slices.ContainsFunc([]byte(m.text), func(b byte) bool { return b == 0xff || b == 0 }) {
		return m
	}
	m.text = strings.ToValidUTF8(strings.ReplaceAll(m.text, "\x00", ""), "")
	return m
}
