package foreign_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/cmd/proof/foreign"
	"github.com/weirfs/weir/engine/swarmtest"
)

// meeting is one way for a client and weir to meet.
type meeting struct {
	version foreign.Property
	magnet  bool
	ipv6    bool
	udp     bool // the tracker's protocol
	private bool
	client  foreign.Encryption // Allowed when empty
	weir    foreign.Encryption
	maker   int // index of foreign.Makers, when it can make that version
}

// meetings hold each property at least once, for a client that can do all; each
// client has those that it can. It is not the product of all properties: a
// meeting takes seconds of a small machine.
var meetings = []meeting{
	{version: foreign.V1, maker: 0},
	{version: foreign.V1, magnet: true, udp: true, client: foreign.Required, maker: 1},
	{version: foreign.V1, ipv6: true, private: true, weir: foreign.Required, maker: 0},
	{version: foreign.V1, magnet: true, client: foreign.Off, weir: foreign.Off, maker: 1},
	{version: foreign.Hybrid, weir: foreign.Off, udp: true, maker: 2},
	{version: foreign.Hybrid, magnet: true, maker: 3},
	{version: foreign.V2, magnet: true, client: foreign.Off, maker: 3},
	{version: foreign.V2, ipv6: true, udp: true, client: foreign.Required, maker: 2},
}

// properties returns what is proven when the meeting goes well.
func (m meeting) properties() []foreign.Property {
	pick := func(b bool, yes, no foreign.Property) foreign.Property {
		if b {
			return yes
		}
		return no
	}
	p := []foreign.Property{
		m.version,
		pick(m.magnet, foreign.ByMagnet, foreign.ByTorrent),
		pick(m.ipv6, foreign.IPv6, foreign.IPv4),
		pick(m.udp, foreign.ByUDPTracker, foreign.ByHTTPTracker),
	}
	if m.private {
		p = append(p, foreign.Private)
	}
	switch m.client {
	case foreign.Required:
		p = append(p, foreign.TheyRequire)
	case foreign.Off:
		p = append(p, foreign.TheyRefuse)
	}
	switch m.weir {
	case foreign.Required:
		p = append(p, foreign.WeirRequires)
	case foreign.Off:
		p = append(p, foreign.WeirRefuses)
	}
	if m.client == "" && m.weir == "" {
		p = append(p, foreign.BothPlainFirst)
	}
	return p
}

// of returns the meeting as this client can have it, or false: encryption settings that the
// client lacks are left out.
func (m meeting) of(c foreign.Client) (meeting, bool) {
	cannot := func(p foreign.Property) bool { return c.Cannot[p] != "" }
	if m.client == foreign.Required && cannot(foreign.TheyRequire) || m.client == foreign.Off && cannot(foreign.TheyRefuse) {
		m.client = ""
	}
	m.udp = m.udp && !cannot(foreign.ByUDPTracker)
	if m.weir == foreign.Required && cannot(foreign.WeirRequires) {
		m.weir = ""
	}
	for _, p := range m.properties() {
		if cannot(p) {
			return m, false
		}
	}
	return m, true
}

func (m meeting) String() string {
	var words []string
	for _, p := range m.properties() {
		words = append(words, string(p))
	}
	return strings.Join(words, ", ")
}

// loopback is where weir and the trackers are.
func (m meeting) loopback() string {
	if m.ipv6 {
		return "::1"
	}
	return "127.0.0.1"
}

// nextIP is where the next client is. IPv6 has one loopback address only.
func (m meeting) nextIP() string {
	if m.ipv6 {
		return "::1"
	}
	return foreign.NextIP()
}

// tracker tells peers of each other.
type tracker interface {
	URL() string
	SetPeers(peers ...string)
}

func (m meeting) openTracker(tb testing.TB) tracker {
	tb.Helper()
	if m.udp {
		return foreign.OpenUDPTracker(tb, m.loopback())
	}
	tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Addr: "[" + m.loopback() + "]:0", Announced: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tr.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tr
}

// TestInterop lets weir download from each client, and each client from weir,
// and holds docs/interop.md to what came of it. All run side by side: clients
// mostly wait, transmission for ten seconds before it unchokes.
func TestInterop(t *testing.T) {
	clients, skipped := foreign.Clients(t)
	if len(skipped) > 0 {
		fmt.Fprintf(os.Stderr, "TestInterop: not run, because %s says so: %s\n", foreign.SkipEnv, strings.Join(skipped, ", "))
	}
	seen := newSeen()
	all := t.Run("With", func(t *testing.T) {
		one := func(name string, test func(t *testing.T)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				seen.began()
				test(t)
			})
		}
		for _, c := range clients {
			if c.Cannot[foreign.ByPEX] == "" {
				one(c.Name+"/PEX", func(t *testing.T) { toldByWeir(t, c, seen) })
			}
			for _, m := range meetings {
				if m, ok := m.of(c); ok {
					one(c.Name+"/"+m.String(), func(t *testing.T) { meet(t, c, m, seen) })
				}
			}
		}
		// Some of these take a minute of waiting. Tests that run side by side begin with
		// those made last.
		for _, c := range clients {
			if c.Cannot[foreign.ByPEX] == "" && c.NeverTells == "" {
				one(c.Name+"/PEXBack", func(t *testing.T) { toldByClient(t, c, seen) })
			}
		}
	})
	if all && !t.Failed() {
		checkTable(t, clients, skipped, seen)
	}
}

// meet lets weir download everything from the client, and then another instance
// of the client download everything from weir, which alone has it.
func meet(t *testing.T, c foreign.Client, m meeting, seen *seen) {
	maker := foreign.Makers[m.maker]
	tracker := m.openTracker(t)
	path := foreign.Folder(t, "all kinds of names ☂")
	single := m.maker == 0 && !m.ipv6 || c.NoPadding && m.version == foreign.Hybrid
	if single {
		path = filepath.Join(t.TempDir(), "a file, alone.iso")
		size := 2<<20 + 12345
		if m.version == foreign.Hybrid {
			size = 2 << 20 // whole pieces, or else libtorrent pads it
		}
		foreign.Fill(t, path, size)
	} else if maker.SkipsEmpty || c.NoEmpty && m.version != foreign.V1 {
		if err := os.Remove(filepath.Join(path, "empty")); err != nil {
			t.Fatal(err)
		}
	}
	source := maker.Make(t, foreign.Making{
		Path: path, Announce: tracker.URL(), PieceBytes: 64 << 10, Private: m.private, Version: m.version,
	})
	job := foreign.Job{Source: source, Dir: filepath.Dir(path), IP: m.nextIP(), Encryption: m.client}
	if m.magnet {
		source = foreign.Magnet(t, source)
	}

	seeder := c.Seed(t, job)
	tracker.SetPeers(seeder.Addr)
	dir := t.TempDir() // with the same cache for both mounts
	args := []string{source, "--cache=" + filepath.Join(dir, "cache"), "--listen=[" + m.loopback() + "]:0"}
	if m.weir != "" {
		args = append(args, "--encryption="+string(m.weir))
	}
	mount := start(t, args...)
	if got, want := mount.Names[0], filepath.Base(path); got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
	if wrong := differ(t, mount.Path(mount.Names[0]), path); wrong != "" {
		t.Fatal(wrong)
	}
	seen.add(c, weirDownloads, m.properties()...)

	// Now only weir has everything. The client finds weir, or weir the client, because the
	// tracker knows nobody else who is alive.
	seeder.Stop()
	tracker.SetPeers()
	job.Source, job.Dir, job.IP = source, t.TempDir(), m.nextIP()
	leech := c.Start(t, job)
	if c.MustBeDialed {
		mount.Unmount(t)
		tracker.SetPeers(leech.Addr)
		mount = start(t, args...)
	}
	leech.WaitComplete(t)
	awaitSame(t, filepath.Join(job.Dir, filepath.Base(path)), path)
	mount.Unmount(t)
	if !t.Failed() {
		seen.add(c, weirUploads, m.properties()...)
	}
}

// differ compares a file or a folder with what it should be, and says what is
// wrong.
func differ(tb testing.TB, got, want string) string {
	tb.Helper()
	g, w := sums(tb, got), sums(tb, want)
	if !maps.Equal(g, w) {
		return fmt.Sprintf("%s has another content than %s:\n%v\n%v", got, want, g, w)
	}
	return ""
}

// sums returns the SHA-256 of each file in a folder, or of a file, by its path
// from the folder that holds it. A mount shows a single file in a folder of the
// file's name, as clients don't. Empty files don't count: not all clients make them.
func sums(tb testing.TB, path string) map[string]string {
	tb.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if st, err := e.Info(); err != nil || st.Size() == 0 || strings.Contains(file, "/.pad/") {
			return err
		}
		found[strings.TrimPrefix(strings.TrimPrefix(file, path), "/"+filepath.Base(path))] = weirtest.Sum(tb, file)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	return found
}
