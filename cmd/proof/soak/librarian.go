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

// Librarian adds and removes torrents, in all the ways there are, and knows which
// ones must be there: also after a kill.
type Librarian struct {
	mount    *Mount
	ledger   *Ledger
	books    []*Book
	torrents map[string]string // .torrent files by name
	magnets  map[string]string
	absent   map[string]func() // what ends that the torrent is removed
	seen     int               // start of weir for which the torrents were looked at
}

// newLibrarian writes the .torrent files into a folder.
func newLibrarian(m *Mount, s *Swarm, l *Ledger, books []*Book, dir string) (*Librarian, error) {
	a := &Librarian{mount: m, ledger: l, books: books, torrents: map[string]string{}, magnets: map[string]string{}, absent: map[string]func(){}}
	hints := s.hints()
	for _, b := range books {
		name := filepath.Join(dir, b.Name+".torrent")
		if err := os.WriteFile(name, b.Content.Torrent(hints), 0o600); err != nil {
			return nil, err
		}
		a.torrents[b.Name], a.magnets[b.Name] = name, b.Content.Magnet(hints)
	}
	return a, nil
}

// Open adds all torrents.
func (a *Librarian) Open(ctx context.Context) error {
	_, a.seen = a.mount.Process()
	for _, b := range a.books {
		if err := a.mount.Command(ctx, "add", a.mount.dir, a.torrents[b.Name]); err != nil {
			return err
		}
	}
	return nil
}

// Run takes torrents away and brings them again until the context ends.
func (a *Librarian) Run(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(500+random.IntN(3000))*time.Millisecond) {
		a.afterStart(ctx)
		b := a.books[random.IntN(len(a.books))]
		if a.absent[b.Name] != nil {
			a.add(ctx, b, random.IntN(3))
			continue
		}
		if len(a.absent) < 2 { // or there would be nothing to read
			a.remove(ctx, b, random.IntN(4))
		}
	}
}

// Close brings all torrents again.
func (a *Librarian) Close(ctx context.Context) {
	a.afterStart(ctx)
	for _, b := range a.books {
		if a.absent[b.Name] != nil {
			a.add(ctx, b, 0)
		}
	}
}

// afterStart looks, after each start of weir, whether what was added is there and
// what was removed is not. A cache that was taken away has taken all along.
func (a *Librarian) afterStart(ctx context.Context) {
	for ctx.Err() == nil {
		_, starts := a.mount.Process()
		if starts == a.seen {
			return
		}
		before, sure := a.seen, true
		for _, b := range a.books {
			_, err := os.Lstat(a.mount.Path(b.Name))
			if _, now := a.mount.Process(); now != starts || a.ledger.InForce(time.Second, Killed, Restarted, CacheGone) {
				sure = false // it went meanwhile
				pause(ctx, 200*time.Millisecond)
				break
			}
			there, wanted := err == nil, a.absent[b.Name] == nil
			if there == wanted {
				continue
			}
			if !a.mount.lost(before, starts) {
				a.ledger.Fail("after a restart torrent %s is there: %v (%v), and should be: %v", b.Name, there, err, wanted)
			}
			if wanted {
				a.absent[b.Name] = a.ledger.Begin(Removed, b.Name)
				a.add(ctx, b, 0)
			}
		}
		if sure {
			a.mount.remembers(starts)
			a.seen = starts
		}
	}
}

// add adds a torrent in one of three ways, until it is there.
func (a *Librarian) add(ctx context.Context, b *Book, way int) {
	a.insist(ctx, "add "+b.Name, func() error {
		switch way {
		case 0:
			return a.mount.Command(ctx, "add", a.mount.dir, a.torrents[b.Name])
		case 1:
			return a.mount.Command(ctx, "add", a.mount.dir, a.magnets[b.Name])
		}
		data, err := os.ReadFile(a.torrents[b.Name])
		if err != nil {
			return err
		}
		if err := os.WriteFile(a.mount.Path(b.Name+".torrent"), data, 0o600); err != nil {
			return err
		}
		_, err = os.Lstat(a.mount.Path(b.Name)) // it went into the folder beneath if weir was down
		return err
	})
	if ctx.Err() == nil {
		a.absent[b.Name]()
		delete(a.absent, b.Name)
	}
}

// remove removes a torrent in one of four ways, until it is gone.
func (a *Librarian) remove(ctx context.Context, b *Book, way int) {
	a.absent[b.Name] = a.ledger.Begin(Removed, b.Name)
	a.insist(ctx, "remove "+b.Name, func() error {
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
		// Without weir nothing is there, and an attempt that it did not survive may have
		// done it: only what one life of weir says counts.
		_, gone := os.Lstat(a.mount.Path(b.Name))
		asked := a.mount.Command(ctx, "ls", a.mount.dir)
		switch {
		case asked != nil || a.ledger.InForce(time.Since(begin), Killed, Restarted):
			return errors.Join(err, asked, errRestarted)
		case errors.Is(gone, fs.ErrNotExist):
			return nil
		}
		return err
	})
}

// insist tries until it works; a failure that no fault explains is one of weir's.
func (a *Librarian) insist(ctx context.Context, what string, try func() error) {
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return
		}
		if a.ledger.InForce(slack, disturbing...) || strings.Contains(err.Error(), "not answered") {
			a.ledger.Seen(what[:strings.Index(what, " ")] + " failed")
		} else {
			a.ledger.Fail("%s: %v", what, err)
			return
		}
		pause(ctx, 500*time.Millisecond)
	}
}

var errRestarted = errors.New("weir was not there all the time")

// disturbing are the faults during which commands may fail.
var disturbing = []Fault{Killed, Restarted, Stopped, NetworkGone, CacheGone, Forgotten, DiskFull}
