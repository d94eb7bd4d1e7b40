package swarmtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
)

// ContentOptions says what NewContent shall make.
type ContentOptions struct {
	Name        string // of the torrent
	Version     Version
	Files       []File // torrents with a v2 half have them in the order of their paths
	Single      bool   // single-file form (BEP 3): exactly one file, shown under Name
	PieceLength int64  // bytes, > 0; 256 KiB when 0
	Padding     bool   // a padding file (BEP 47) after each file but the last, so that all begin with a piece
	Private     bool   // BEP 27

	// Created is what Info reports and what Torrent writes; zero leaves it out.
	Created time.Time
	// InfoExtra are more keys of the info dictionary, such as "source": they
	// give a torrent of the same content another info hash.
	InfoExtra map[string]string
}

// hashCache keeps the piece hashes of made-up contents for the life of the
// process, because tests and benchmarks make the same gigabyte again and again.
var hashCache sync.Map // shape of the content (string) → []byte

// NewContent lays the files end to end, hashes them on all cores (1 GiB takes
// about a second) and makes the info dictionary.
func NewContent(o ContentOptions) (*Content, error) {
	if o.PieceLength == 0 {
		o.PieceLength = 256 << 10
	}
	if o.PieceLength < 0 || len(o.Files) == 0 || o.Single && len(o.Files) != 1 || o.Name == "" {
		return nil, weir.Errorf(weir.ErrInvalid, "content %q: %d files, piece length %d", o.Name, len(o.Files), o.PieceLength)
	}
	c := &Content{info: weir.TorrentInfo{
		Name: o.Name, PieceLength: o.PieceLength, Single: o.Single, Private: o.Private, Created: o.Created, V2: o.Version == V2,
	}}
	if o.Version != V1 {
		if err := o.checkV2(); err != nil {
			return nil, err
		}
		o.Files = sortFiles(o.Files)
	}
	shape, err := c.layOut(o)
	if err != nil {
		return nil, err
	}
	if o.Version != V1 {
		if err := c.hashTrees(); err != nil {
			return nil, err
		}
	}
	if o.Version == V2 {
		c.hashes = c.pieceHashesV2()
	} else if h, ok := hashCache.Load(shape); ok && shape != "" {
		c.hashes = h.([]byte)
	} else {
		if c.hashes, err = c.hashPieces(); err != nil {
			return nil, err
		}
		if shape != "" {
			hashCache.Store(shape, c.hashes)
		}
	}
	c.infoBytes = appendBencode(nil, c.infoDict(o))
	c.info.InfoHash = sha1.Sum(c.infoBytes)
	if c.v2 != nil {
		c.v2.infoHash = sha256.Sum256(c.infoBytes)
	}
	if o.Version == V2 {
		c.info.InfoHash = weir.InfoHash(c.v2.infoHash[:20])
	}
	return c, nil
}

// layOut fills in files and sources. The shape it returns is equal for contents
// with equal bytes and pieces, and empty when that can't be told.
func (c *Content) layOut(o ContentOptions) (shape string, err error) {
	var s strings.Builder
	fmt.Fprintf(&s, "%d", o.PieceLength)
	madeUp := true
	add := func(f weir.FileInfo, src bytesAt) {
		f.Offset = c.info.Length
		c.info.Length += f.Length
		c.info.Files = append(c.info.Files, f)
		c.sources = append(c.sources, src)
	}
	pad := func(n int64) {
		fmt.Fprintf(&s, " pad:%d", n)
		path := []string{".pad", strconv.FormatInt(n, 10)}
		if o.Version == V2 {
			path = path[:1] // a gap has no name
		}
		add(weir.FileInfo{Path: path, Length: n, Padding: true}, zeroFile{})
	}
	for i, f := range o.Files {
		fi := weir.FileInfo{Path: f.Path, Length: f.Length, Executable: f.Executable}
		if o.Single {
			fi.Path = []string{o.Name}
		}
		if len(fi.Path) == 0 || f.Length < 0 {
			return "", weir.Errorf(weir.ErrInvalid, "content %q: file %d has no name or a negative length", o.Name, i)
		}
		if o.Version != V1 && f.Disk != "" { // the gap before it depends on whether it has bytes
			st, err := os.Stat(f.Disk)
			if err != nil {
				return "", err
			}
			f.Length = st.Size()
		}
		if over := c.info.Length % o.PieceLength; o.Version != V1 && over != 0 && (f.Length > 0 || len(f.Bytes) > 0) {
			pad(o.PieceLength - over)
		}
		switch {
		case f.Padding:
			fi.Padding = true
			add(fi, zeroFile{})
		case f.Disk != "":
			st, err := os.Stat(f.Disk)
			if err != nil {
				return "", err
			}
			fi.Length, madeUp = st.Size(), false
			add(fi, diskFile(f.Disk))
		case f.Bytes != nil:
			fi.Length, madeUp = int64(len(f.Bytes)), false
			add(fi, memoryFile(f.Bytes))
		default:
			fmt.Fprintf(&s, " %x:%d", f.Seed, f.Length)
			add(fi, seedFile(f.Seed))
		}
		if over := c.info.Length % o.PieceLength; o.Version == V1 && o.Padding && over != 0 && i < len(o.Files)-1 {
			pad(o.PieceLength - over)
		}
	}
	if !madeUp {
		return "", nil
	}
	return s.String(), nil
}

// hashPieces computes the SHA-1 of each piece, one goroutine per core.
func (c *Content) hashPieces() ([]byte, error) {
	pieces := c.info.NumPieces()
	hashes := make([]byte, pieces*sha1.Size)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			// Small enough to stay in a core's cache between making and hashing.
			buf := make([]byte, min(c.info.PieceLength, 64<<10))
			for i := int(next.Add(1) - 1); i < pieces; i = int(next.Add(1) - 1) {
				h := sha1.New()
				for r := c.info.PieceRange(i); !r.Empty(); r.Off += int64(len(buf)) {
					b := buf[:min(int64(len(buf)), r.Len())]
					if _, err := c.ReadAt(b, r.Off); err != nil {
						errs[w] = err
						return
					}
					h.Write(b)
				}
				h.Sum(hashes[i*sha1.Size : i*sha1.Size])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// infoDict is the info dictionary of BEP 3 or BEP 52 or both, with the attributes
// of BEP 47 and the private flag of BEP 27.
func (c *Content) infoDict(o ContentOptions) dict {
	d := dict{"name": c.info.Name, "piece length": c.info.PieceLength}
	if o.Private {
		d["private"] = 1
	}
	for k, v := range o.InfoExtra {
		d[k] = v
	}
	if c.v2 != nil {
		c.addV2(d)
	}
	if c.info.V2 {
		return d
	}
	d["pieces"] = c.hashes
	attributes := func(d dict, f *weir.FileInfo) dict {
		switch {
		case f.Padding:
			d["attr"] = "p"
		case f.Executable:
			d["attr"] = "x"
		}
		return d
	}
	if o.Single {
		d["length"] = c.info.Length
		return attributes(d, &c.info.Files[0])
	}
	files := make(list, len(c.info.Files))
	for i := range files {
		f := &c.info.Files[i]
		path := make(list, len(f.Path))
		for j, p := range f.Path {
			path[j] = p
		}
		files[i] = attributes(dict{"length": f.Length, "path": path}, f)
	}
	d["files"] = files
	return d
}

// Hints are the parts of a .torrent or a magnet beside the info dictionary.
type Hints struct {
	Trackers [][]string // announce URLs in tiers (BEP 12)
	WebSeeds []string   // URLs (BEP 19)
	Peers    []string   // host:port, for magnets (x.pe, BEP 9)
	Comment  string
	NoLayers bool // of a .torrent: without the piece layers (BEP 52), as if made from a magnet
}

// Torrent returns the bytes of a .torrent file.
func (c *Content) Torrent(h Hints) []byte {
	d := dict{"info": raw(c.infoBytes)}
	if c.v2 != nil && !h.NoLayers {
		d["piece layers"] = c.pieceLayers()
	}
	if len(h.Trackers) > 0 && len(h.Trackers[0]) > 0 {
		d["announce"] = h.Trackers[0][0]
		tiers := list{}
		for _, t := range h.Trackers {
			tier := list{}
			for _, u := range t {
				tier = append(tier, u)
			}
			tiers = append(tiers, tier)
		}
		d["announce-list"] = tiers
	}
	if len(h.WebSeeds) > 0 {
		l := list{}
		for _, u := range h.WebSeeds {
			l = append(l, u)
		}
		d["url-list"] = l
	}
	if !c.info.Created.IsZero() {
		d["creation date"] = c.info.Created.Unix()
	}
	if h.Comment != "" {
		d["comment"] = h.Comment
	}
	return appendBencode(nil, d)
}

// Magnet returns a magnet link (BEP 9) with the content's name, and with
// trackers, web seeds and peers as far as h names them.
func (c *Content) Magnet(h Hints) string {
	var b strings.Builder
	b.WriteString("magnet:?")
	if !c.info.V2 {
		fmt.Fprintf(&b, "xt=urn:btih:%s&", c.info.InfoHash)
	}
	if c.v2 != nil {
		fmt.Fprintf(&b, "xt=urn:btmh:1220%x&", c.v2.infoHash)
	}
	fmt.Fprintf(&b, "dn=%s", url.QueryEscape(c.info.Name))
	add := func(key string, values []string) {
		for _, v := range values {
			fmt.Fprintf(&b, "&%s=%s", key, url.QueryEscape(v))
		}
	}
	for _, t := range h.Trackers {
		add("tr", t)
	}
	add("ws", h.WebSeeds)
	for _, p := range h.Peers {
		// As BEP 9 shows it: libtorrent does not unescape this one.
		b.WriteString("&x.pe=" + p)
	}
	return b.String()
}
