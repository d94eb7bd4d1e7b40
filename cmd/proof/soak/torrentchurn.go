package main

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// TorrentChurn adds and removes torrents in every way that weir offers, and checks which
// ones are there, also after a kill.
type TorrentChurn struct {
	mount        *Mount
	faults       *FaultLog
	torrents     []*Torrent
	metainfo     map[string]string // .torrent files by name
	magnets      map[string]string
	absent       map[string]func() // torrents that are removed; the function ends the fault Removed
	checkedStart int               // of weir; after it the torrents were checked
}

// newTorrentChurn writes the .torrent files into a folder.
func newTorrentChurn(m *Mount, s *Swarm, l *FaultLog, torrents []*Torrent, dir string) (*TorrentChurn, error) {
	a := &TorrentChurn{mount: m, faults: l, torrents: torrents, metainfo: map[string]string{}, magnets: map[string]string{}, absent: map[string]func(){}}
	hints := s.hints()
	for _, b := range torrents {
		name := filepath.Join(dir, b.Name+".torrent")
		if err := os.WriteFile(name, b.Content.Torrent(hints), 0o600); err != nil {
			return nil, err
		}
		a.metainfo[b.Name], a.magnets[b.Name] = name, b.Content.Magnet(hints)
	}
	return a, nil
}

// Open adds all torrents.
func (a *TorrentChurn) Open(ctx context.Context) error {
	_, a.checkedStart = a.mount.Process()
	for _, b := range a.torrents {
		if err := a.mount.Command(ctx, "add", a.mount.dir, a.metainfo[b.Name]); err != nil {
			return err
		}
	}
	return nil
}

// Run removes and adds torrents until ctx ends.
func (a *TorrentChurn) Run(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(500+random.IntN(3000))*time.Millisecond) {
		a.afterStart(ctx)
		b := a.torrents[random.IntN(len(a.torrents))]
		if a.absent[b.Name] != nil {
			a.add(ctx, b, random.IntN(3))
			continue
		}
		if len(a.absent) < 2 { // leave something to read
			a.remove(ctx, b, random.IntN(4))
		}
	}
}

// Close adds all torrents that are removed.
func (a *TorrentChurn) Close(ctx context.Context) {
	a.afterStart(ctx)
	for _, b := range a.torrents {
		if a.absent[b.Name] != nil {
			a.add(ctx, b, 0)
		}
	}
}

// afterStart checks, after each start of weir, that what was added is there and what was
// removed is not. Without its cache weir starts with no torrents.
func (a *TorrentChurn) afterStart(ctx context.Context) {
	for ctx.Err() == nil {
		_, starts := a.mount.Process()
		if starts == a.checkedStart {
			return
		}
		before, sure := a.checkedStart, true
		for _, b := range a.torrents {
			_, err := os.Lstat(a.mount.Path(b.Name))
			if _, now := a.mount.Process(); now != starts || a.faults.InForce(time.Second, Killed, Restarted, CacheGone) {
				sure = false // weir ended meanwhile
				pause(ctx, 200*time.Millisecond)
				break
			}
			there, wanted := err == nil, a.absent[b.Name] == nil
			if there == wanted {
				continue
			}
			if !a.mount.lost(before, starts) {
				a.faults.Fail("after a restart: torrent %s is there: %v (%v), want %v", b.Name, there, err, wanted)
			}
			if wanted {
				a.absent[b.Name] = a.faults.Begin(Removed, b.Name)
				a.add(ctx, b, 0)
			}
		}
		if sure {
			a.mount.remembers(starts)
			a.checkedStart = starts
		}
	}
}

// add adds a torrent in one of three ways, until it is there.
func (a *TorrentChurn) add(ctx context.Context, b *Torrent, way int) {
	a.retry(ctx, "add "+b.Name, func() error {
		switch way {
		case 0:
			return a.mount.Command(ctx, "add", a.mount.dir, a.metainfo[b.Name])
		case 1:
			return a.mount.Command(ctx, "add", a.mount.dir, a.magnets[b.Name])
		}
		data, err := os.ReadFile(a.metainfo[b.Name])
		if err != nil {
			return err
		}
		if err := os.WriteFile(a.mount.Path(b.Name+".torrent"), data, 0o600); err != nil {
			return err
		}
		_, err = os.Lstat(a.mount.Path(b.Name)) // without weir the file was written beneath the mountpoint
		return err
	})
	if ctx.Err() == nil {
		a.absent[b.Name]()
		delete(a.absent, b.Name)
	}
}

// remove removes a torrent in one of four ways, until it is gone.
func (a *TorrentChurn) remove(ctx context.Context, b *Torrent, way int) {
	a.absent[b.Name] = a.faults.Begin(Removed, b.Name)
	a.retry(ctx, "remove "+b.Name, func() error {
		begin := time.Now()
		var err error
		switch way {
		case 0:
			err = a.mount.Command(ctx, "rm", a.mount.dir, b.Name)
		case 1:
			err = a.mount.Command(ctx, "rm", "--keep-cache", a.mount.dir, b.Name)
		case 2:
			err = os.Remove(a.mount.Path(b.Name))
		default:
			err = os.RemoveAll(a.mount.Path(b.Name))
		}
		// Without weir no torrent is there, and it may have died after it removed this one: only
		// what weir shows while it was running all the time counts.
		_, gone := os.Lstat(a.mount.Path(b.Name))
		asked := a.mount.Command(ctx, "ls", a.mount.dir)
		switch {
		case asked != nil || a.faults.InForce(time.Since(begin), Killed, Restarted):
			return errors.Join(err, asked, errRestarted)
		case errors.Is(gone, fs.ErrNotExist):
			return nil
		}
		return err
	})
}

// retry tries until it works. An error that no fault excuses is a failure of weir.
func (a *TorrentChurn) retry(ctx context.Context, what string, try func() error) {
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return
		}
		if a.faults.InForce(slack, disruptive...) || strings.Contains(err.Error(), "not answered") {
			a.faults.Seen(what[:strings.Index(what, " ")] + " failed")
		} else {
			a.faults.Fail("%s: %v", what, err)
			return
		}
		pause(ctx, 500*time.Millisecond)
	}
}

var errRestarted = errors.New("weir was restarted meanwhile")

// disruptive faults may make commands fail.
var disruptive = []Fault{Killed, Restarted, Stopped, NetworkGone, CacheGone, Forgotten, DiskFull}
