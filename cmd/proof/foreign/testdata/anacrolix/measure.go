package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"
)

// measured is what reading everything took; see bench_test.go.
type measured struct {
	Seconds float64 `json:"seconds"` // from the first peer on
	CPU     float64 `json:"cpu"`     // seconds of this process in that time
}

func measure(j job) error {
	mi, err := metainfo.LoadFromFile(j.Source)
	if err != nil {
		return err
	}
	info, err := mi.UnmarshalInfo()
	if err != nil {
		return err
	}
	mem := newMemory(info)
	cfg := config(j)
	cfg.DefaultStorage, cfg.Seed = mem, false
	c, err := torrent.NewClient(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := c.AddTorrent(mi)
	if err != nil {
		return err
	}
	begin, before := time.Now(), cpu()
	var peers []torrent.PeerInfo
	for _, p := range j.Peers {
		peers = append(peers, torrent.PeerInfo{Addr: torrent.StringAddr(p), Trusted: true})
	}
	t.AddPeers(peers)
	r := t.NewReader()
	defer r.Close()
	r.SetReadahead(64 << 20)
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 128<<10))
	if err == nil && n != info.TotalLength() {
		err = fmt.Errorf("read %d of %d bytes", n, info.TotalLength())
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measured{time.Since(begin).Seconds(), cpu() - before})
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// memory is a storage of one torrent in memory that was touched before.
type memory struct {
	bytes []byte

	mu       sync.Mutex
	complete map[int]bool
}

func newMemory(info metainfo.Info) *memory {
	m := &memory{bytes: make([]byte, info.TotalLength()), complete: map[int]bool{}}
	for i := 0; i < len(m.bytes); i += 4096 {
		m.bytes[i] = 1
	}
	return m
}

func (m *memory) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{
		Piece: func(p metainfo.Piece) storage.PieceImpl {
			return &memoryPiece{m: m, index: p.Index(), bytes: m.bytes[p.Offset() : p.Offset()+p.Length()]}
		},
		Close: func() error { return nil },
	}, nil
}

type memoryPiece struct {
	m     *memory
	index int
	bytes []byte
}

func (p *memoryPiece) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, p.bytes[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (p *memoryPiece) WriteAt(b []byte, off int64) (int, error) { return copy(p.bytes[off:], b), nil }

func (p *memoryPiece) MarkComplete() error    { return p.mark(true) }
func (p *memoryPiece) MarkNotComplete() error { return p.mark(false) }

func (p *memoryPiece) mark(complete bool) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.complete[p.index] = complete
	return nil
}

func (p *memoryPiece) Completion() storage.Completion {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return storage.Completion{Ok: true, Complete: p.m.complete[p.index]}
}
