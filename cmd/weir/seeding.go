package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/seeding"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
)

const (
	seedingTick  = time.Second // between two looks at what is uploaded
	seedingLines = time.Minute // between two lines where the output is no terminal
)

// seedingFlags say how files are served to peers without a mount.
type seedingFlags struct {
	o           seeding.Options
	uploadLimit byteSize
	names       []string
}

// register adds the flags.
func (s *seedingFlags) register(f *pflag.FlagSet) {
	before := map[string]bool{}
	f.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	s.o.Listen = ":0"
	f.Var((*peerListenAddress)(&s.o.Listen), "listen", "accept connections from peers at `HOST:PORT`; port 0 is any free port; choose one if your router forwards it")
	f.Var((*peerList)(&s.o.Peers), "peer", "also connect to the peer at `HOST:PORT`; may be repeated")
	f.BoolVar(&s.o.DHT, "dht", true, "be found by the DHT, unless the torrent is private")
	f.BoolVar(&s.o.LSD, "lsd", true, "be found in the local network, by multicast, unless the torrent is private")
	f.BoolVar(&s.o.AllowPrivate, "allow-private", false, "also contact addresses of this machine and its network that trackers or the torrent name; without it, only trackers at /announce")
	f.Var((*encryption)(&s.o.Encryption), "encryption", "encrypt connections `WHEN`: allowed (if the peer wants it), required (always) or off (never)")
	f.Var(&s.uploadLimit, "upload-limit", "upload at most `SIZE` per second, such as 500KB or 2MiB (default no limit)")
	f.VisitAll(func(flag *pflag.Flag) {
		if !before[flag.Name] {
			s.names = append(s.names, flag.Name)
		}
	})
}

// given returns one of the flags that was given, "" if none was.
func (s *seedingFlags) given(f *pflag.FlagSet) string {
	for _, name := range s.names {
		if f.Changed(name) {
			return name
		}
	}
	return ""
}

// options says how a torrent is served from root.
func (s *seedingFlags) options(spec *source.Spec, root string) seeding.Options {
	o := s.o
	o.Spec, o.Root, o.UploadLimit, o.UserAgent = spec, root, int64(s.uploadLimit), "weir/"+weirVersion()
	return o
}

// serveFiles serves until ctx ends, and says what happens. It closes served.
func serveFiles(ctx context.Context, served *seeding.Seeding, screen screen) error {
	if err := served.Open(); err != nil {
		return errors.Join(err, served.Close())
	}
	name := weir.Printable(served.Name())
	if port := served.Port(); port > 0 {
		fmt.Fprintf(screen, "seeding %s on port %d; Ctrl-C ends it\n", name, port)
	} else {
		fmt.Fprintf(screen, "seeding %s; Ctrl-C ends it\n", name)
	}
	watchSeeding(ctx, served, name, screen)
	return errors.Join(served.Close(), seedingEnd(screen, name, served.Stats()))
}

// watchSeeding says what is uploaded and which files turned out to be others, until ctx
// ends.
func watchSeeding(ctx context.Context, served *seeding.Seeding, name string, screen screen) {
	tick := time.NewTicker(seedingTick)
	defer tick.Stop()
	told := map[string]string{} // problems, by file
	line, lineAt := "", time.Time{}
	for {
		select {
		case <-ctx.Done():
			if screen.fd >= 0 && line != "" {
				fmt.Fprintln(screen)
			}
			return
		case <-tick.C:
		}
		problems := served.Look()
		now := map[string]string{}
		for _, p := range problems {
			now[p.Path] = p.Why
			if told[p.Path] != p.Why {
				fmt.Fprintf(screen, "weir: %s: %s: pieces of it are not given away\n", weir.Printable(p.Path), weir.Printable(p.Why))
			}
		}
		told = now
		next := seedingText(name, served.Stats())
		switch {
		case screen.fd >= 0:
			fmt.Fprintf(screen, "\r%s\x1b[K", cut(next, max(screen.width(), usualScreen)-1))
		case next != line && time.Since(lineAt) >= seedingLines:
			lineAt = time.Now()
			fmt.Fprintln(screen, next)
		default:
			continue
		}
		line = next
	}
}

func seedingText(name string, s engine.Stats) string {
	peers := fmt.Sprintf("%d peers", s.Peers)
	if s.Peers == 1 {
		peers = "1 peer"
	}
	return fmt.Sprintf("%s: %s, %s up, %s uploaded", name, peers, rateText(int64(s.UpRate)), sizeText(s.Uploaded))
}

func seedingEnd(screen screen, name string, s engine.Stats) error {
	_, err := fmt.Fprintf(screen, "%s: %s uploaded\n", name, sizeText(s.Uploaded))
	return err
}
