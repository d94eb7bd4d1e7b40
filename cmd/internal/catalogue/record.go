package catalogue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// The buckets of the catalogue. The metadata of torrents is the engine's, in
// engine.MetadataBucket.
const (
	torrentsBucket = "torrents" // by info hash: a record
	foldersBucket  = "folders"  // by path in the mount: the mtime of a sorting folder
)

// rootKey is the key of the mount's root in foldersBucket, and no sorting folder's.
const rootKey = "/"

// recordVersion is that of the records that this weir writes and reads.
const recordVersion = 1

// Record is what the catalogue has of a torrent: how it is shown, and what its source says
// beyond the metadata. Names are bytes, because they may not be UTF-8.
type Record struct {
	Version  int        `json:"v"`
	Seq      uint64     `json:"seq"` // torrents are listed in its order
	Added    time.Time  `json:"added"`
	Dir      []byte     `json:"dir,omitempty"` // path of the folder it is sorted into; none: the root
	Shown    []byte     `json:"shown"`         // name of its folder
	Name     []byte     `json:"name,omitempty"`
	Encoding string     `json:"encoding,omitempty"` // of names that are not UTF-8
	HashV2   []byte     `json:"hash_v2,omitempty"`
	Trackers [][]string `json:"trackers,omitempty"`
	Peers    []string   `json:"peers,omitempty"`
	WebSeeds []string   `json:"web_seeds,omitempty"`
	Nodes    []string   `json:"nodes,omitempty"`
	// Select are the files that a magnet selects; none: all.
	Select []source.FileSpan `json:"select,omitempty"`
	// Pin are the paths beneath the torrent's folder, as they are to be shown, that are
	// pinned as soon as the metadata is there; an empty one is all that is selected.
	Pin [][]byte `json:"pin,omitempty"`
	// Sharing is what is set for it; none: what the mount says.
	Sharing *Sharing `json:"sharing,omitempty"`
	// Files is the folder or file that the content is served from, in place; none: it comes
	// from peers. Missing are the pieces that are not there, a bit each.
	Files   []byte `json:"files,omitempty"`
	Missing []byte `json:"missing,omitempty"`
	Shape   *Shape `json:"shape,omitempty"` // none while the metadata is unknown
}

// Shape is what is known of a torrent without its metadata. If there is a Shape, the
// metadata is stored too.
type Shape struct {
	Size        int64     `json:"size"`            // bytes of its files
	Length      int64     `json:"length"`          // the same with padding
	Blank       int64     `json:"blank,omitempty"` // bytes of pieces that are all padding
	PieceLength int64     `json:"piece_length"`
	Files       int       `json:"files"` // padding included
	Created     time.Time `json:"created,omitzero"`
}

// NewShape returns nil for nil.
func NewShape(info *weir.TorrentInfo) *Shape {
	if info == nil {
		return nil
	}
	s := &Shape{Size: info.ContentBytes(), Length: info.Length, PieceLength: info.PieceLength, Files: len(info.Files), Created: info.Created}
	for i := range info.BlankPieces {
		s.Blank += info.FullRange(i).Len()
	}
	return s
}

// Size returns the bytes of the files, 0 while they are unknown.
func (r *Record) Size() int64 {
	if r.Shape == nil {
		return 0
	}
	return r.Shape.Size
}

// NewRecord returns the record of a new torrent.
func NewRecord(spec *source.Spec) Record {
	r := Record{
		Version: recordVersion, Added: time.Now().UTC().Truncate(time.Second), Name: []byte(spec.Name), Encoding: spec.Encoding,
		Trackers: spec.Trackers, Peers: spec.Peers, WebSeeds: spec.WebSeeds, Nodes: spec.Nodes, Select: spec.SelectOnly, Shape: NewShape(spec.Info),
	}
	if spec.InfoHashV2 != [32]byte{} {
		r.HashV2 = spec.InfoHashV2[:]
	}
	return r
}

// Learn adds what another source of the same torrent knows.
func (r *Record) Learn(spec *source.Spec) {
	var tiers [][]string
	for _, tier := range append(r.Trackers[:len(r.Trackers):len(r.Trackers)], spec.Trackers...) {
		if tier = missing(tier, tiers...); len(tier) > 0 {
			tiers = append(tiers, tier)
		}
	}
	r.Trackers = tiers
	r.Peers = append(r.Peers[:len(r.Peers):len(r.Peers)], missing(spec.Peers, r.Peers)...)
	r.WebSeeds = append(r.WebSeeds[:len(r.WebSeeds):len(r.WebSeeds)], missing(spec.WebSeeds, r.WebSeeds)...)
	r.Nodes = append(r.Nodes[:len(r.Nodes):len(r.Nodes)], missing(spec.Nodes, r.Nodes)...)
	if len(r.HashV2) == 0 && spec.InfoHashV2 != [32]byte{} {
		r.HashV2 = spec.InfoHashV2[:]
	}
	if len(r.Name) == 0 {
		r.Name = []byte(spec.Name)
	}
	if r.Encoding == "" {
		r.Encoding = spec.Encoding
	}
	if r.Shape == nil {
		r.Shape = NewShape(spec.Info)
	}
}

// missing returns the strings of add that are in none of the lists.
func missing(add []string, lists ...[]string) []string {
	known := map[string]bool{}
	for _, list := range lists {
		for _, s := range list {
			known[s] = true
		}
	}
	var out []string
	for _, s := range add {
		if !known[s] {
			known[s] = true
			out = append(out, s)
		}
	}
	return out
}

// Spec returns the source again, without metadata.
func (r *Record) Spec(ih weir.InfoHash) *source.Spec {
	s := &source.Spec{InfoHash: ih, Name: string(r.Name), Encoding: r.Encoding, Trackers: r.Trackers, Peers: r.Peers, WebSeeds: r.WebSeeds, Nodes: r.Nodes, SelectOnly: r.Select}
	copy(s.InfoHashV2[:], r.HashV2)
	return s
}

// Magnet returns a link that leads to the torrent.
func (r *Record) Magnet(ih weir.InfoHash) string { return r.Spec(ih).Magnet() }

func (r *Record) encode() ([]byte, error) { return json.Marshal(r) }

// parse reads what encode made. The error wraps weir.ErrCorrupt.
func parse(key, value []byte) (ih weir.InfoHash, r Record, err error) {
	if len(key) != len(ih) {
		return ih, r, fmt.Errorf("record of a torrent: key of %d bytes: %w", len(key), weir.ErrCorrupt)
	}
	copy(ih[:], key)
	if err := json.Unmarshal(value, &r); err != nil {
		return ih, r, fmt.Errorf("record of torrent %s: %v: %w", ih, err, weir.ErrCorrupt)
	}
	switch {
	case ih.IsZero(), len(r.Shown) == 0, len(r.HashV2) != 0 && len(r.HashV2) != 32:
		return ih, r, fmt.Errorf("record of torrent %s makes no sense: %w", ih, weir.ErrCorrupt)
	case r.Version != recordVersion:
		return ih, r, fmt.Errorf("record of torrent %s is of version %d, this weir reads %d: %w", ih, r.Version, recordVersion, weir.ErrCorrupt)
	}
	if s := r.Shape; s != nil && (s.Size < 0 || s.Length < s.Size || s.Blank < 0 || s.Blank > s.Length || s.PieceLength <= 0 || s.Files < 0) {
		return ih, r, fmt.Errorf("record of torrent %s: sizes make no sense: %w", ih, weir.ErrCorrupt)
	}
	return ih, r, nil
}
