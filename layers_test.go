package weir_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/weirfs/weir"

	// Families of packages: a path stands for itself and what lies beneath it.
	anacrolix = "github.com/anacrolix"
	badger    = "github.com/dgraph-io"
	bazil     = "bazil.org/fuse"
	network   = "net"
)

// layer is what the packages in one folder, and beneath it, must not import.
// The longest folder that fits counts.
type layer struct {
	dir    string
	all    bool     // may import everything of ours, not just the root and itself
	forbid []string // families
	except []string // single packages out of these families
	own    []string // folders of ours that it may import beside itself
	only   []string // the folders of ours that may import it, beside itself; nil for any that its own rule lets
	tests  []string // more of them, for its tests
	std    bool     // the standard library only

	// decides: no clock, no goroutine and no I/O (see pure_test.go).
	decides bool
	// pure: decides, and has no lock either. Whoever calls it owns its state.
	pure bool
}

// layers is the table of docs/architecture.md; architecture_test.go holds the two
// against each other. Each rule looks at what a file itself imports: as every
// package of ours obeys its own rule, nothing comes in through another of them, and
// what a library imports for itself (badger links net/http) is not ours to forbid.
var layers = []layer{
	// The vocabulary: whoever imports it must get nothing else with it.
	{dir: ".", std: true, forbid: []string{network, "os", "syscall"}},
	// Names and errnos. It asks through interfaces for all that it shows.
	{dir: "fs", forbid: []string{bazil, anacrolix, badger, network}},
	// What the kernel and the file system say to each other, in plain types; only one
	// of the two knows the wire.
	{dir: "fs/internal/node", std: true, forbid: []string{network, "syscall"}},
	{dir: "fs/internal/kernel", forbid: []string{anacrolix, badger, network}, own: []string{"fs/internal/node", "fs/internal/process"}},
	{dir: "fs/internal/process", std: true, forbid: []string{network}},
	{dir: "fs/internal/incoming", std: true, forbid: []string{network}, own: []string{"fs/internal/node"}},
	// Arithmetic of names.
	{dir: "fs/internal/tree", std: true, pure: true},
	// Mountpoints, for whoever has no file system.
	{dir: "fs/mountpoint", forbid: []string{bazil, anacrolix, badger, network}},
	// Decisions about reading ahead. It never talks to anybody itself.
	{dir: "reader", forbid: []string{bazil, anacrolix, badger, network}},
	{dir: "reader/internal/policy", std: true, pure: true},
	// Verified pieces on disk. It knows no swarm and no mount, and badger through one
	// package only.
	{dir: "cache", forbid: []string{bazil, anacrolix, badger, network}},
	{dir: "cache/internal/disk", forbid: []string{bazil, anacrolix, badger, network}},
	{dir: "cache/internal/policy", std: true, pure: true},
	{dir: "cache/internal/segment", forbid: []string{bazil, anacrolix, badger, network}, own: []string{"cache/internal/disk", "cache/internal/policy"}},
	// badger's own API, and nothing of what it is made of.
	{dir: "cache/internal/index", forbid: []string{bazil, anacrolix, badger, network}, except: []string{badger + "/badger/v4"}, own: []string{"cache/internal/disk"}},
	// Swarms. Verified pieces leave it through an interface.
	{dir: "engine", forbid: []string{bazil, badger}},
	// Decisions about a swarm: facts in, choices out. None of them talks to anybody.
	{dir: "engine/internal/bitfield", std: true, decides: true},
	{dir: "engine/internal/choker", std: true, pure: true},
	{dir: "engine/internal/connlimit", std: true, decides: true, own: []string{"engine/internal/subnet"}},
	{dir: "engine/internal/metadata", std: true, pure: true},
	{dir: "engine/internal/peerbook", std: true, pure: true, own: []string{"engine/internal/subnet"}},
	{dir: "engine/internal/picker", std: true, pure: true},
	{dir: "engine/internal/subnet", std: true, pure: true},
	// What a connection is made of. It knows no torrent beyond its info hash.
	{dir: "engine/internal/bencode", std: true, forbid: []string{network, "os", "syscall"}},
	{dir: "engine/internal/throttle", std: true, forbid: []string{network, "os", "syscall"}},
	{dir: "engine/internal/wire", forbid: []string{bazil, badger}, own: []string{"engine/internal/bencode"}},
	// One option of a socket.
	{dir: "engine/quickack", forbid: []string{bazil, badger, anacrolix}, tests: []string{"engine/internal/wire"}},
	// Who is served, and what of what they ask for.
	{dir: "engine/internal/upload", forbid: []string{bazil, badger, network}, except: []string{anacrolix + "/torrent/peer_protocol", "net/netip"},
		own: []string{"engine/internal/choker", "engine/internal/link", "engine/internal/picker", "engine/internal/subnet",
			"engine/internal/throttle", "engine/internal/wire"}},
	// One connection. Messages out, messages in; what they mean is not its concern.
	{dir: "engine/internal/link", forbid: []string{bazil, badger},
		own: []string{"engine/internal/discover/pex", "engine/internal/metadata", "engine/internal/throttle", "engine/internal/wire", "engine/quickack"}},
	// The peers of a torrent, found and connected. What they are of use for is not its
	// concern.
	{dir: "engine/internal/connector", forbid: []string{bazil, badger, anacrolix},
		own: []string{"engine/internal/connlimit", "engine/internal/discover", "engine/internal/discover/pex", "engine/internal/link",
			"engine/internal/peerbook", "engine/internal/wire", "engine/source"},
		tests: []string{"engine/internal/throttle"}},
	// What a torrent that nobody uses has to announce.
	{dir: "engine/internal/announcer", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"engine/internal/discover", "engine/source"}},
	// Requests to web servers, and what is known of each. Addresses are judged by the pool
	// that it is given.
	{dir: "engine/internal/webseed", forbid: []string{bazil, badger, anacrolix}, own: []string{"engine/internal/netrule"}},
	// Decisions about addresses, and the dialing that asks for them.
	{dir: "engine/internal/netrule", std: true, forbid: []string{"os"}},
	// Hashing.
	{dir: "engine/internal/verify", std: true, forbid: []string{network, "os", "syscall"}, own: []string{"engine/source/merkle"}, tests: []string{"engine/source"}},
	// Which hashes verify single blocks, and who is asked for them.
	{dir: "engine/internal/blockproof", std: true, decides: true, own: []string{"engine/internal/verify"}, tests: []string{"engine/source/merkle"}},
	// What a torrent is. It reads and writes records through an interface.
	{dir: "engine/internal/metainfo", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"engine/internal/verify", "engine/source"}},
	// What is on its way to the Store.
	{dir: "engine/internal/storage", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"engine/internal/picker"}},
	// The search for peers, and the ways to find them: of these none knows another.
	{dir: "engine/internal/discover", forbid: []string{bazil, badger, anacrolix}, own: []string{"engine/internal/netrule"}},
	{dir: "engine/internal/discover/schedule", std: true, pure: true, only: []string{"engine/internal/discover"}},
	{dir: "engine/internal/discover/tracker", forbid: []string{bazil, badger, anacrolix}, only: []string{"engine/internal/discover"},
		own: []string{"engine/internal/bencode", "engine/internal/discover/peeraddr", "engine/internal/netrule"}},
	{dir: "engine/internal/discover/dht", forbid: []string{bazil, badger}, only: []string{"engine/internal/discover"},
		own: []string{"engine/internal/bencode", "engine/internal/discover/peeraddr"}},
	{dir: "engine/internal/discover/lsd", forbid: []string{bazil, badger, anacrolix}, only: []string{"engine/internal/discover"},
		own: []string{"engine/internal/discover/peeraddr"}},
	{dir: "engine/internal/discover/pex", std: true, pure: true,
		own: []string{"engine/internal/bencode", "engine/internal/discover/peeraddr"}},
	{dir: "engine/internal/discover/peeraddr", std: true, forbid: []string{network, "os"}, except: []string{"net", "net/netip"}},
	// Parsers of what comes from outside, and one GET.
	{dir: "engine/source", forbid: []string{bazil, badger, anacrolix, network},
		except: []string{"net/http", "net/url", "net/netip"},
		own:    []string{"engine/internal/bencode", "engine/internal/netrule"}},
	{dir: "engine/source/merkle", std: true, pure: true},
	// Torrents of what is on this machine: what is written, and the reading and hashing.
	{dir: "engine/publish", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"engine/inplace", "engine/source", "engine/source/merkle"}},
	{dir: "engine/publish/metainfo", std: true, pure: true, own: []string{"engine/internal/bencode", "engine/source/merkle"}, tests: []string{"engine/source"}},
	// Files of this machine that are read where they lie. What a torrent is, it is told.
	{dir: "engine/inplace", forbid: []string{bazil, badger, anacrolix, network}},
	// The other side. What it shares with the engine could be wrong in both.
	{dir: "engine/swarmtest", forbid: []string{bazil, badger, anacrolix + "/dht"}},
	{dir: "engine/swarmtest/attack", std: true},
	{dir: "engine/swarmtest/simnet", std: true, tests: []string{"engine/swarmtest"}},
	// The application around the library wires everything.
	{dir: "cmd/weir", all: true},
	{dir: "cmd/internal", all: true},
	{dir: "cmd/internal/catalogue", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"cache", "engine", "engine/source"}},
	{dir: "cmd/internal/sources", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"cmd/internal/api", "engine/source"}},
	{dir: "cmd/internal/seeding", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"engine", "engine/inplace", "engine/source"}},
	{dir: "cmd/internal/store", forbid: []string{bazil, badger, anacrolix, network}, own: []string{"cache", "engine", "engine/inplace", "reader"}},
	{dir: "cmd/internal/gateway", forbid: []string{bazil, badger, anacrolix}, own: []string{"fs", "cmd/internal/hosts"}, tests: []string{"cmd/internal/weirtest"}},
	{dir: "cmd/internal/hosts", std: true},
	{dir: "cmd/internal/sandbox", forbid: []string{bazil, badger, anacrolix, network}},
	// What measures and proves it. It has libraries that weir hasn't.
	{dir: proof, all: true},
}

// alwaysForbidden holds for every file that is not a test: we use the library's
// wire packages and never its Client, and no C.
var alwaysForbidden = []string{anacrolix + "/torrent", "C"}

// inputOutput are the families by which a package would do I/O.
var inputOutput = []string{network, "os", "syscall", "log"}

// testKit may be imported by every test, and by nothing else but cmd.
const testKit = "engine/swarmtest"

// proof is a module of its own, which nothing of weir's module may need.
const proof = "cmd/proof"

// goFile is a source file and what it imports.
type goFile struct {
	name    string // slash-separated, relative to the module
	imports []string
}

// violations returns a sentence for each import that the layers forbid, and for
// each file that no layer covers.
func violations(files []goFile) []string {
	var bad []string
	for _, f := range files {
		dir := path.Dir(f.name)
		l, ok := layerOf(dir)
		if !ok {
			bad = append(bad, fmt.Sprintf("%s: no layer for %s: add a rule with its reason", f.name, dir))
			continue
		}
		for _, imp := range f.imports {
			if !l.allows(imp, strings.HasSuffix(f.name, "_test.go")) || !admits(imp, dir) {
				bad = append(bad, fmt.Sprintf("%s: %s must not import %s", f.name, l.dir, imp))
			}
		}
	}
	return bad
}

// layerOf returns the longest layer that dir lies in. Only the root's own folder
// lies in ".".
func layerOf(dir string) (layer, bool) {
	best := layer{}
	for _, l := range layers {
		if within(dir, l.dir) && len(l.dir) >= len(best.dir) {
			best = l
		}
	}
	return best, best.dir != ""
}

// within reports whether a path is another or lies beneath it.
func within(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }

// admits reports whether a package of ours lets those in a folder import it.
func admits(imp, dir string) bool {
	l, _ := layerOf(strings.TrimPrefix(imp, modulePath+"/"))
	return !within(imp, modulePath) || l.only == nil || within(dir, l.dir) || slices.Contains(l.only, dir)
}

func (l layer) allows(imp string, test bool) bool {
	if within(imp, modulePath) {
		dir := strings.TrimPrefix(strings.TrimPrefix(imp, modulePath), "/")
		switch {
		case within(dir, proof) && !within(l.dir, proof):
			return false
		case dir == "" || l.all:
			return true
		case within(dir, testKit) && !within(l.dir, testKit):
			return test
		}
		return within(dir, l.dir) || slices.Contains(l.own, dir) || test && slices.Contains(l.tests, dir)
	}
	if test {
		return true // a test may look at its package with any library
	}
	if slices.Contains(alwaysForbidden, imp) || l.std && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return false
	}
	forbidden := func(family string) bool { return within(imp, family) }
	if (l.pure || l.decides) && slices.ContainsFunc(inputOutput, forbidden) && imp != "net/netip" {
		return false
	}
	if l.pure && within(imp, "sync") {
		return false
	}
	return !slices.ContainsFunc(l.forbid, forbidden) || slices.Contains(l.except, imp)
}

// moduleFiles parses the imports of every Go file of the module, whatever system
// it is for.
func moduleFiles(root string) ([]goFile, error) {
	var files []goFile
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(root, name, d.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f := goFile{name: filepath.ToSlash(rel)}
		for _, spec := range parsed.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imp)
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// repositoryFiles are those of weir's module and of the one that proves it.
func repositoryFiles(tb testing.TB) []goFile {
	tb.Helper()
	files, err := moduleFiles(".")
	if err != nil {
		tb.Fatal(err)
	}
	more, err := moduleFiles(proof)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range more {
		files = append(files, goFile{path.Join(proof, f.name), f.imports})
	}
	return files
}

// skipFolder passes over what the go command passes over: hidden folders, test
// data and modules of their own.
func skipFolder(root, name, base string) error {
	if name == root {
		return nil
	}
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func TestLayers(t *testing.T) {
	files := repositoryFiles(t)
	// The walk must have found what is certainly there.
	for _, name := range []string{"weir.go", "layers_test.go", "engine/source/source.go", "cmd/proof/bench/main.go"} {
		if !slices.ContainsFunc(files, func(f goFile) bool { return f.name == name }) {
			t.Errorf("%s was not looked at", name)
		}
	}
	for _, v := range violations(files) {
		t.Error(v)
	}
}

// TestLayersDetect gives the rules imports that they must catch, and some that
// they must let pass.
func TestLayersDetect(t *testing.T) {
	own := func(dir string) string { return modulePath + "/" + dir }
	for _, c := range []struct {
		file, imp string
		ok        bool
	}{
		{"weir.go", "strings", true},
		{"weir.go", "golang.org/x/sync/errgroup", false},
		{"weir.go", "net/netip", false},
		{"weir.go", own("fs"), false},
		{"weir_test.go", own("fs"), false},
		{"fs/fs.go", modulePath, true},
		{"fs/fs.go", bazil, false},
		{"fs/lookup.go", own("fs/internal/kernel"), true},
		{"fs/internal/kernel/loop.go", bazil, true},
		{"fs/internal/kernel/loop.go", own("fs"), false},
		{"fs/internal/kernel/loop.go", own("fs/internal/tree"), false},
		{"fs/internal/node/id.go", bazil, false},
		{"fs/fs.go", own("fs/internal/x"), true},
		{"fs/fs.go", own("fs/mountpoint"), true},
		{"fs/mountpoint/mount.go", own("fs"), false},
		{"fs/internal/tree/tree.go", bazil, false},
		{"fs/internal/tree/tree.go", "sync/atomic", false},
		{"fs/internal/tree/tree.go", own("fs"), false},
		{"fs/mountpoint/mount.go", bazil, false},
		{"fs/fs.go", own("reader"), false},
		{"fs/internal/x/x.go", own("cache"), false},
		{"fs/fs.go", anacrolix + "/torrent/metainfo", false},
		{"fs/fs.go", badger + "/badger/v4", false},
		{"fs/fs_test.go", own("cache"), false},
		{"fs/fs_test.go", own("engine"), false},
		{"fs/fs_test.go", own("engine/swarmtest"), true},
		{"fs/fs_test.go", own("fs"), true},
		{"reader/reader.go", own("readerx"), false},
		{"reader/reader.go", bazil + "/fs", false},
		{"reader/reader.go", "net", false},
		{"reader/reader.go", "net/http", false},
		{"reader/reader.go", "network.example/x", true},
		{"cache/cache.go", badger + "/badger/v4", false},
		{"cache/internal/index/db.go", badger + "/badger/v4", true},
		{"cache/internal/index/check.go", badger + "/badger/v4/table", false},
		{"cache/internal/segment/read.go", own("cache/internal/index"), false},
		{"cache/cache.go", "net", false},
		{"cache/cache.go", own("engine/source"), false},
		{"cache/cache.go", own("engine/swarmtest"), false},
		{"engine/engine.go", anacrolix + "/torrent/peer_protocol", true},
		{"engine/engine.go", anacrolix + "/torrent", false},
		{"engine/engine.go", own("engine/source"), true},
		{"engine/engine.go", own("cmd/internal/daemon"), false},
		{"engine/engine.go", bazil, false},
		{"engine/internal/discover/search.go", own("engine/internal/discover/tracker"), true},
		{"engine/internal/discover/dht/find.go", own("engine/internal/discover/tracker"), false},
		{"engine/internal/discover/dht/node.go", anacrolix + "/dht/v2", true},
		{"engine/internal/discover/dht.go", anacrolix + "/dht/v2", false},
		{"engine/internal/discover/pex/message.go", "net", false},
		{"engine/internal/connector/search.go", own("engine/internal/discover"), true},
		{"engine/internal/connector/search.go", own("engine/internal/discover/pex"), true},
		{"engine/internal/connector/search.go", own("engine/internal/discover/dht"), false},
		{"engine/source/source.go", own("engine"), false},
		{"engine/source/source.go", own("engine/internal/netrule"), true},
		{"engine/source/source.go", own("engine/internal/picker"), false},
		{"engine/source/source.go", "net", false},
		{"engine/source/source.go", "net/http", true},
		{"engine/source/source.go", anacrolix + "/torrent/bencode", false},
		{"engine/engine.go", own("engine/swarmtest"), false},
		{"engine/x_test.go", own("engine/swarmtest"), true},
		{"engine/swarmtest/peer.go", own("engine/swarmtest/attack"), true},
		{"engine/swarmtest/peer.go", own("engine/source"), false},
		{"engine/internal/picker/pick.go", own("engine/internal/choker"), false},
		{"engine/internal/picker/pick.go", "sync", false},
		{"engine/internal/picker/pick.go", "net/netip", true},
		{"engine/internal/picker/pick.go", "log/slog", false},
		{"engine/internal/picker/pick.go", "golang.org/x/time/rate", false},
		{"engine/internal/connlimit/slots.go", "sync", true},
		{"engine/internal/connlimit/slots.go", "os", false},
		{"cmd/internal/sandbox/sandbox.go", own("cache"), false},
		{"engine/source/source.go", anacrolix + "/dht/v2", false},
		{"cmd/weir/main.go", own("engine/source"), true},
		{"cmd/weir/main.go", anacrolix + "/torrent", false},
		{"cmd/internal/daemon/x.go", "C", false},
		{"cmd/internal/daemon/x.go", own("cmd/proof/bench/zeros"), false},
		{"cmd/internal/daemon/x_test.go", own("cmd/proof/bench/zeros"), false},
		{"cmd/proof/bench/main.go", own("cmd/proof/bench/zeros"), true},
		{"cmd/proof/bench/main.go", own("fs"), true},
		{"cmd/proof/bench/main.go", anacrolix + "/torrent", false},
		{"metrics/x.go", "fmt", false},
		{"fsx/x.go", "fmt", false},
		{"cmd/tool/main.go", "fmt", false},
	} {
		bad := violations([]goFile{{name: c.file, imports: []string{c.imp}}})
		if ok := len(bad) == 0; ok != c.ok {
			t.Errorf("%s imports %s: allowed %v, want %v (%v)", c.file, c.imp, ok, c.ok, bad)
		}
	}
}

// TestLayersWalk checks that a forbidden import in a file is found, whatever the
// folder it hides in, and that other modules are left alone.
func TestLayersWalk(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                "module " + modulePath,
		"fs/deep/er/x.go":       "package er\nimport _ \"" + modulePath + "/cache\"\n",
		"cache/x_windows.go":    "//go:build windows\npackage cache\nimport n \"net\"\n",
		"extra/x.go":            "package extra\n",
		"other/go.mod":          "module other",
		"other/x.go":            "package other\n",
		"fs/testdata/broken.go": "no go",
		".hidden/x.go":          "no go",
	} {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	files, err := moduleFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	got := violations(files)
	want := []string{
		"cache/x_windows.go: cache must not import net",
		"extra/x.go: no layer for extra: add a rule with its reason",
		"fs/deep/er/x.go: fs must not import " + modulePath + "/cache",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
