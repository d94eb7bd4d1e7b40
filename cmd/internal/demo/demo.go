// Package demo shows weir at work on one machine: it makes a sample torrent, a
// swarm of three seeders on loopback, mounts the torrent by magnet and reads from
// it, and prints how long each step took and what it fetched. It needs no network and leaves
// no files behind.
//
// It uses the same daemon as weir mount; the swarm is engine/swarmtest's. What
// must not live here: anything that weir mount needs.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// The seeders' rates and delay: those of home connections, not of loopback.
const (
	seeders     = 3
	seederRTT   = 40 * time.Millisecond
	seederRate  = 8_000_000 // bytes per second, each
	pieceLength = 256 << 10
)

// readTimeout ends reads that hang; a demo that takes longer is broken.
const readTimeout = 20 * time.Second

// Options say where the demo writes and mounts.
type Options struct {
	Out     io.Writer
	TempDir string // where its folders are made; "" for the system's
	Version string // of weir
}

// Run shows the demo. It cleans up after itself when ctx ends, too.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp(o.TempDir, "weir-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &show{ctx: ctx, out: o.Out, dir: dir, mountpoint: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(s.mountpoint, 0o700); err != nil {
		return err
	}
	// What was started is taken down before the folder is removed.
	defer func() { err = errors.Join(err, s.close()) }()

	for _, act := range []func() error{
		s.publish,
		func() error { return s.mount(o.Version) },
		s.list,
		s.head,
		s.seek,
		s.dataset,
		s.finish,
	} {
		if err := act(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// show is one run of the demo.
type show struct {
	ctx        context.Context
	out        io.Writer
	dir        string // of all temporary folders
	mountpoint string

	content *swarmtest.Content
	seeders []*swarmtest.Seeder
	daemon  *daemon.Daemon
	root    string // of the torrent, in the mount
	read    int64  // bytes that the demo has read
}

func (s *show) close() error {
	var errs []error
	if s.daemon != nil {
		errs = append(errs, s.daemon.Close())
	}
	for _, seeder := range s.seeders {
		errs = append(errs, seeder.Close())
	}
	return errors.Join(errs...)
}

// say prints one line.
func (s *show) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// publish makes the sample and gives it to a swarm.
func (s *show) publish() error {
	sample := filepath.Join(s.dir, sampleName)
	if err := writeSample(sample); err != nil {
		return fmt.Errorf("make the sample: %w", err)
	}
	files, err := swarmtest.Folder(sample)
	if err != nil {
		return err
	}
	s.content, err = swarmtest.NewContent(swarmtest.ContentOptions{Name: sampleName, Files: files, PieceLength: pieceLength})
	if err != nil {
		return fmt.Errorf("make the torrent: %w", err)
	}
	for i := range seeders {
		// Addresses of their own, as peers have them.
		seeder, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{
			Addr:     net.JoinHostPort(fmt.Sprintf("127.0.0.%d", 2+i), "0"),
			Contents: []*swarmtest.Content{s.content},
			Link:     simnet.Link{RTT: seederRTT, BytesPerSec: seederRate, Connect: true},
		})
		if err != nil {
			return fmt.Errorf("start a seeder: %w", err)
		}
		s.seeders = append(s.seeders, seeder)
	}
	info := s.content.Info()
	s.say("A torrent: %d files, %s in %d pieces of %s.", len(info.Files), size(info.Length), info.NumPieces(), size(info.PieceLength))
	s.say("Its swarm: %d seeders on this machine, each %v away, sending %s/s at most.", seeders, seederRTT, humanize.Bytes(seederRate))
	return nil
}

// mount mounts the torrent by its magnet alone.
func (s *show) mount(version string) error {
	var hints swarmtest.Hints
	for _, seeder := range s.seeders {
		hints.Peers = append(hints.Peers, seeder.Addr())
	}
	begin := time.Now()
	s.daemon = daemon.New(daemon.Options{
		Mountpoint: s.mountpoint,
		Sources:    []string{s.content.Magnet(hints)},
		CacheDir:   filepath.Join(s.dir, "cache"),
		Listen:     "127.0.0.1:0",
		UID:        uint32(os.Getuid()), GID: uint32(os.Getgid()),
		ReadTimeout: readTimeout,
		Version:     version,
	})
	if err := s.daemon.Open(s.ctx); err != nil {
		return err
	}
	s.root = filepath.Join(s.mountpoint, s.daemon.Names()[0])
	s.say("")
	s.say("$ weir mount %s 'magnet:?xt=urn:btih:%s&…'", s.mountpoint, s.content.InfoHash())
	s.say("  mounted after %s; the magnet's metadata comes from the peers", since(begin))
	return nil
}

// fetched returns what the seeders have sent of the content.
func (s *show) fetched() int64 {
	var n int64
	for _, seeder := range s.seeders {
		n += seeder.Counters().PayloadBytes
	}
	return n
}

// size prints bytes for people.
func size(n int64) string { return humanize.IBytes(uint64(n)) }

// since prints a duration for people.
func since(begin time.Time) string { return time.Since(begin).Round(time.Millisecond).String() }
