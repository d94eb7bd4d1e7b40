package source

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

// ParseTorrent reads a .torrent file (BEP 3). The Spec keeps parts of b, so b
// must not be changed afterwards. Time and memory stay in proportion to len(b),
// which may be MaxMetainfoBytes at most.
//
// What is needed to verify and lay out bytes is checked strictly. Everything else is
// ignored if it makes no sense, as other programs do: values of another type, trackers
// and web seeds of other schemes, impossible dates, bytes after the end.
//
// A hybrid torrent (BEP 52) is read as v1, if its halves agree; it needs no piece layers.
// A v2-only torrent may lack layers, although BEP 52 calls it incomplete then: peers have
// them. Layers that are there must lead to their roots.
//
// Errors wrap weir.ErrInvalid for what makes no sense or is not supported, and
// weir.ErrHostile for what no honest program makes.
func ParseTorrent(b []byte) (*Spec, error) {
	if err := sniff(b); err != nil {
		return nil, err
	}
	top, err := parseTop(b)
	switch {
	case errors.Is(err, bencode.ErrShort):
		return nil, fmt.Errorf("the .torrent is incomplete: download it again: %w", err)
	case err != nil:
		return nil, fmt.Errorf("read .torrent: %w", err)
	case top.info == nil:
		return nil, weir.Errorf(weir.ErrInvalid, "the .torrent has no info dictionary: download it again")
	}
	spec, err := top.spec()
	if err != nil {
		return nil, err
	}
	spec.Info.Created = top.created
	spec.Trackers = top.tiers.tiers
	if len(spec.Trackers) == 0 { // BEP 12: announce-list replaces announce
		spec.Trackers = top.announce.tiers
	}
	top.addOldSeeds(spec.Info)
	spec.WebSeeds = top.seeds.urls
	spec.Nodes = top.nodes.nodes
	return spec, nil
}

// spec checks the info dictionary and the piece layers.
func (top *topDict) spec() (*Spec, error) {
	v2 := sha256.Sum256(top.info)
	spec := &Spec{InfoHash: sha1.Sum(top.info)}
	d, err := top.dict, error(nil)
	if d == nil {
		d, err = readInfoDict(top.info)
	}
	if err == nil && d.hasV2() && !d.hasV1() {
		spec.InfoHash = Truncate(v2)
	}
	if err == nil {
		err = d.check()
	}
	var layers *pieceLayers
	if err == nil && d.hasV2() {
		layers, err = readPieceLayers(top.layers)
	}
	if err == nil {
		err = spec.fill(d, top.info, v2, !d.hasV1(), layers, top.encoding, top.codepage)
	}
	if err != nil {
		return nil, refused(spec.InfoHash, err)
	}
	if layers != nil && d.hasV1() {
		half := Spec{InfoHash: Truncate(v2)}
		if half.fill(d, top.info, v2, true, layers, top.encoding, top.codepage) == nil {
			spec.LayerHashes = half.PieceHashes
		}
	}
	return spec, nil
}

// refused adds to an error which torrent it is about, and whether the torrent looks like
// an attack.
func refused(ih weir.InfoHash, err error) error {
	if errors.Is(err, weir.ErrHostile) {
		return fmt.Errorf("torrent %s is refused as unsafe: %w", ih, err)
	}
	return fmt.Errorf("torrent %s: %w", ih, err)
}

// sniff recognises common mistakes for a .torrent by their first bytes, and names them.
func sniff(b []byte) error {
	head := bytes.TrimLeft(bytes.TrimPrefix(b[:min(len(b), 512)], []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(b) == 0:
		return weir.Errorf(weir.ErrInvalid, "is empty, not a torrent: download it again")
	case len(b) > MaxMetainfoBytes:
		return weir.Errorf(weir.ErrInvalid, "has more than %d bytes, too many for a .torrent", MaxMetainfoBytes)
	case len(head) > 0 && head[0] == '<':
		return weir.Errorf(weir.ErrInvalid, "is a web page, not a torrent: find the address of the .torrent itself")
	case hasScheme(string(head), "magnet"):
		return weir.Errorf(weir.ErrInvalid, "is a text with a magnet, not a torrent: give weir the magnet")
	case b[0] != 'd':
		return weir.Errorf(weir.ErrInvalid, "is not a torrent (a .torrent begins with \"d\")")
	}
	return nil
}

// topDict is what we use of the outermost dictionary.
type topDict struct {
	info     []byte
	dict     *infoDict // info, if it could be read in the same pass
	layers   []byte    // the dictionary of piece layers (BEP 52), nil if there is none
	announce trackerTiers
	tiers    trackerTiers
	seeds    webSeeds
	oldSeeds webSeeds // of BEP 17
	nodes    dhtNodes
	created  time.Time
	encoding string // of names that are no UTF-8
	codepage string // the same, as a number of Windows's
}

// addOldSeeds adds seeds of BEP 17 to the web seeds if they are plainly URLs of the file,
// as Debian's are; the others are scripts with a protocol of their own.
func (top *topDict) addOldSeeds(info *weir.TorrentInfo) {
	for _, s := range top.oldSeeds.urls {
		u, err := url.Parse(s)
		if err == nil && info.Single && u.RawQuery == "" && path.Base(u.Path) == info.RawName() {
			top.seeds.add(s)
		}
	}
}

// readInfo reads the info dictionary at the cursor, which is nearly all of the file, in
// one pass. If anything is wrong it returns false and moves nothing: the slow path finds
// the words for it.
func (top *topDict) readInfo(c *bencode.Cursor) bool {
	ahead := *c
	d, err := readInfoDictAt(&ahead)
	if err != nil || top.info != nil {
		return false
	}
	n := len(c.Rest()) - len(ahead.Rest())
	top.info, top.dict = c.Rest()[:n:n], d
	*c = ahead
	return true
}

func parseTop(b []byte) (top topDict, err error) {
	c := bencode.NewMetainfo(b)
	err = c.Dict(func(key []byte) error {
		if string(key) == "info" && top.readInfo(c) {
			return nil
		}
		value, err := c.Raw()
		if err != nil {
			return err
		}
		// From here on the value is known to be well formed. Only info decides
		// whether the torrent is taken.
		v := bencode.NewMetainfo(value)
		switch string(key) {
		case "info":
			if top.info != nil {
				return weir.Errorf(weir.ErrHostile, "has two info dictionaries")
			}
			if err := v.Expect(bencode.Dict); err != nil {
				return fmt.Errorf("info: %w", err)
			}
			top.info = value
		case "piece layers":
			if top.layers != nil {
				return weir.Errorf(weir.ErrHostile, "piece layers are given twice")
			}
			if v.Kind() == bencode.Dict {
				top.layers = value
			}
		case "announce":
			if url, err := v.String(); err == nil {
				top.announce.add(string(url))
			}
		case "announce-list":
			top.tiers.addList(v)
		case "url-list":
			top.seeds.addList(v)
		case "httpseeds":
			top.oldSeeds.addList(v)
		case "encoding":
			if label, err := v.String(); err == nil {
				top.encoding = string(label)
			}
		case "codepage":
			if n, err := v.Int(); err == nil {
				top.codepage = strconv.FormatInt(n, 10)
			}
		case "nodes":
			top.nodes.addList(v)
		case "creation date":
			top.created = parseDate(v)
		}
		return nil
	})
	return top, err
}

// parseDate reads a creation date, in seconds since 1970. Dates beyond the year
// 2106 are nonsense (mostly milliseconds) and count as not given.
func parseDate(v *bencode.Cursor) time.Time {
	s, err := v.Int()
	if err != nil || s <= 0 || s >= 1<<32 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}
