// Package source turns what the user names — a .torrent file, an http(s) URL of
// one, a magnet, a bare info hash, or a text or shortcut with some of these — into
// validated Specs, and validates metadata that peers sent. Input from outside is checked
// here, once: a weir.TorrentInfo from this package is safe to index, add and multiply
// with.
//
// It knows nothing of swarms, caches and mounts, keeps no state and starts
// nothing: its only traffic is the one GET that Load makes for a URL. Of weir it imports
// the root, source/merkle, internal/bencode and internal/netrule, which judges where that
// GET may go, and nothing else.
package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source/merkle"
)

// The bounds on input, in bytes.
const (
	// MaxMetainfoBytes bounds a .torrent file and an info dictionary. A torrent
	// of a million files with long names takes about 100 MB.
	MaxMetainfoBytes = 256 << 20
	// MaxDownloadBytes bounds what is fetched from a URL: a server is trusted
	// with less of our memory than a file that the user already has.
	MaxDownloadBytes = 64 << 20
	// MaxMagnetBytes bounds a magnet.
	MaxMagnetBytes = 64 << 10
)

// exampleMagnet is shown in errors about bad magnets.
const exampleMagnet = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=name"

// Spec is a torrent as the user named it: enough to join its swarm. It is not
// changed after it was returned; share it freely between goroutines.
type Spec struct {
	// InfoHash is weir's name for the torrent: the SHA-1 of the info dictionary,
	// also for hybrid torrents, or of a v2-only one InfoHashV2 cut to 20 bytes.
	InfoHash weir.InfoHash
	// InfoHashV2 is the SHA-256 of the info dictionary of a torrent that has a v2
	// half (BEP 52); zero if it has none or that is not known.
	InfoHashV2 [32]byte
	// InfoHashV1 is the SHA-1 of the info dictionary of a hybrid torrent whose v2 half
	// is taken; zero for all others, and while that is not known.
	InfoHashV1 weir.InfoHash
	Name       string // for display, as the metainfo or the magnet has it; may be empty
	// Encoding is the character set in which names were that are no UTF-8, as the
	// .torrent names it; WithInfo needs it, since it isn't in the info dictionary. Empty
	// if there was nothing to decode.
	Encoding string

	// What follows is nil until the metadata is known, that is for magnets and
	// bare info hashes.
	Info      *weir.TorrentInfo
	InfoBytes []byte // the bencoded info dictionary, as it stands in the file
	// PieceHashes has the hash of each piece in turn, and shares nothing with
	// InfoBytes. Without Info.V2 they are the SHA-1 of 20 bytes. With it they are
	// roots of hash trees over the pieces, of 32 bytes; it is nil as long as only
	// Roots are known, which is so for magnets with a file of more than one piece.
	PieceHashes []byte
	// LayerHashes are what PieceHashes would be if the v2 half of a hybrid torrent had
	// been taken. They come from a .torrent only, and nil is as good: peers who know
	// the v2 half alone have to ask others then.
	LayerHashes []byte
	// Roots has, with Info.V2, the root of the hash tree of each of Info.Files;
	// zero for those without bytes and for padding.
	Roots [][merkle.Size]byte

	Trackers [][]string // announce URLs in tiers (BEP 12): http, https or udp
	Peers    []string   // host:port of peers that the source itself named (x.pe)
	WebSeeds []string   // http or https URLs (BEP 19)
	Nodes    []string   // host:port of nodes of the DHT that know of it (BEP 5)

	// SelectOnly are the files that a magnet's so (BEP 53) names, by their index in
	// the metadata: sorted, apart from each other, and not checked against the
	// metadata. None means that nothing was selected, which is all files.
	SelectOnly []FileSpan
}

// DisplayName returns the name, or the info hash while there is none.
func (s *Spec) DisplayName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.InfoHash.String()
}

// Loader says how far a URL may lead. The zero Loader is for what the user typed:
// that may be anywhere, but a server on the internet can't send us on into this
// machine or its network.
type Loader struct {
	Found        bool // the URL was found in a file: it may lead to the internet only
	AllowPrivate bool // all may lead anywhere
}

// Load reads what arg names: an http(s) URL of a .torrent, or what Read takes, if that
// is one torrent. Only a URL makes traffic; ctx ends it. Errors say what to do next
// and wrap weir.ErrInvalid, weir.ErrHostile or weir.ErrNotFound where these fit.
func (l Loader) Load(ctx context.Context, arg string) (*Spec, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if isURL(arg) {
		return l.get(ctx, arg)
	}
	c, err := Read(arg)
	if err != nil {
		return nil, err
	}
	return l.One(ctx, c)
}

// get is Load for a URL.
func (l Loader) get(ctx context.Context, url string) (spec *Spec, err error) {
	b, err := l.fetch(ctx, url)
	if err != nil {
		return nil, err
	}
	if text := bytes.TrimSpace(plainText(b[:min(len(b), MaxMagnetBytes+1)])); hasScheme(string(text), "magnet") {
		spec, err = ParseMagnet(string(text))
	} else {
		spec, err = ParseTorrent(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redact(url), err)
	}
	return spec, nil
}

// Read reads what arg names on this machine: a magnet, the path of a file, which is
// read as ParseFile does, or an info hash. A file whose name looks like an info hash
// wins over the hash. It makes no traffic, and its errors are like Load's.
func Read(arg string) (*Contents, error) {
	switch {
	case arg == "":
		return nil, weir.Errorf(weir.ErrInvalid, "no torrent named: give a .torrent file, a URL, a magnet or an info hash")
	case hasScheme(arg, "magnet"):
		spec, err := ParseMagnet(arg)
		return &Contents{Specs: []*Spec{spec}}, err
	}
	b, err := ReadFile(arg, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if spec, hashErr := parseInfoHash(arg); hashErr == nil {
			return &Contents{Specs: []*Spec{spec}}, nil
		}
		return nil, weir.Errorf(weir.ErrNotFound, "%s: no such file, and neither a URL, a magnet nor an info hash: check the path", quote(arg))
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return c, nil
}

// parseInfoHash reads an info hash that stands for itself.
func parseInfoHash(s string) (*Spec, error) {
	if len(s) == 2*merkle.Size {
		v2, err := parseHashV2(s)
		return &Spec{InfoHash: Truncate(v2), InfoHashV2: v2}, err
	}
	ih, err := parseHash(s)
	return &Spec{InfoHash: ih}, err
}

// parseHashV2 reads 64 hexadecimal digits.
func parseHashV2(s string) (v2 [merkle.Size]byte, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(v2) {
		v2 = [merkle.Size]byte(b)
	}
	if Truncate(v2).IsZero() {
		return v2, weir.Errorf(weir.ErrInvalid, "v2 info hash %s: want 64 hexadecimal digits", quote(s))
	}
	return v2, nil
}

// parseHash reads a v1 info hash. All zeros means "none" throughout weir.
func parseHash(s string) (weir.InfoHash, error) {
	ih, err := weir.ParseInfoHash(s)
	if err == nil && ih.IsZero() {
		return ih, weir.Errorf(weir.ErrInvalid, "the info hash is all zeros")
	}
	return ih, err
}

// hasScheme reports whether s begins with scheme and a colon, in any case.
func hasScheme(s, scheme string) bool {
	return len(s) > len(scheme) && s[len(scheme)] == ':' && strings.EqualFold(s[:len(scheme)], scheme)
}

// quote makes untrusted text fit for an error message: escaped, and short.
func quote[T string | []byte](text T) string {
	const limit = 80
	if len(text) > limit {
		return fmt.Sprintf("%q… (%d bytes)", text[:limit], len(text))
	}
	return fmt.Sprintf("%q", text)
}

// Names are the info hashes of a torrent; zero where it has none, or none that is known
// yet. A hybrid torrent has two, and is in two swarms (BEP 52): under its v1 hash, and
// under its v2 hash cut to 20 bytes.
type Names struct{ V1, V2 weir.InfoHash }

// Names returns the info hashes of the torrent.
func (s *Spec) Names() Names {
	n := Names{V1: s.InfoHash}
	if s.InfoHashV2 != [sha256.Size]byte{} {
		if n.V2 = Truncate(s.InfoHashV2); n.V1 == n.V2 {
			n.V1 = s.InfoHashV1
		}
	}
	return n
}

// Hybrid reports whether the torrent has both.
func (n Names) Hybrid() bool { return !n.V1.IsZero() && !n.V2.IsZero() }

// Has reports whether ih is one of them.
func (n Names) Has(ih weir.InfoHash) bool { return !ih.IsZero() && (ih == n.V1 || ih == n.V2) }

// Other returns the one beside ih, zero if there is none.
func (n Names) Other(ih weir.InfoHash) weir.InfoHash {
	if ih == n.V1 {
		return n.V2
	}
	return n.V1
}
