package main

import (
	"fmt"
	"math/rand/v2"
	"path"

	"github.com/weirfs/weir/engine/swarmtest"
)

// Torrent is what the seeders have, and what the mount must show.
type Torrent struct {
	Name    string
	Content *swarmtest.Content
	Files   []File
}

// File describes the right content of a file: swarmtest.Fill makes its bytes.
type File struct {
	Path   string // beneath the mountpoint
	Length int64
	Seed   uint64
}

// plan is one torrent to be made: some large files, then many small ones.
type plan struct {
	name    string
	version swarmtest.Version
	piece   int64
	large   []int64 // lengths, in 1/256 of all torrents
	small   int
}

// plans are torrents of all versions, with pieces from 16 KiB to 4 MiB.
var plans = []plan{
	{name: "film", version: swarmtest.V1, piece: 256 << 10, large: []int64{64}},
	{name: "photos", version: swarmtest.V1, piece: 16 << 10, small: 300},
	{name: "data", version: swarmtest.V2, piece: 64 << 10, large: []int64{32, 4}, small: 10},
	{name: "album", version: swarmtest.Hybrid, piece: 1 << 20, large: []int64{24, 8}, small: 5},
	{name: "image", version: swarmtest.V1, piece: 4 << 20, large: []int64{64}},
	{name: "source", version: swarmtest.V2, piece: 16 << 10, small: 150},
	{name: "mixed", version: swarmtest.Hybrid, piece: 32 << 10, large: []int64{16}, small: 40},
	{name: "archive", version: swarmtest.V1, piece: 512 << 10, large: []int64{20, 20}, small: 20},
}

// newTorrents makes the torrents, of about size bytes together.
func newTorrents(seed uint64, size int64) ([]*Torrent, error) {
	random := rand.New(rand.NewPCG(seed, 1))
	var torrents []*Torrent
	for _, p := range plans {
		b := &Torrent{Name: p.name}
		var files []swarmtest.File
		add := func(length int64, dir string) {
			name := fmt.Sprintf("%04d.bin", len(files)) // in the order that v2 wants
			f := swarmtest.File{Path: []string{dir, name}, Length: length, Seed: random.Uint64()}
			files = append(files, f)
			b.Files = append(b.Files, File{Path: path.Join(p.name, dir, name), Length: length, Seed: f.Seed})
		}
		for _, share := range p.large {
			add(size*share/256+random.Int64N(100_000), "large") // ends anywhere
		}
		for range p.small {
			add(1+random.Int64N(60_000), "small")
		}
		var err error
		b.Content, err = swarmtest.NewContent(swarmtest.ContentOptions{
			Name: p.name, Version: p.version, PieceLength: p.piece, Files: files, Padding: p.version == swarmtest.Hybrid,
		})
		if err != nil {
			return nil, fmt.Errorf("torrent %s: %w", p.name, err)
		}
		torrents = append(torrents, b)
	}
	return torrents, nil
}
