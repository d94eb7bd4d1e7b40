package daemon

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/reader"
)

// readers is what the open files of all torrents share: the budget of read-ahead, and
// which programs are restricted.
type readers struct {
	budget     *reader.Budget
	restricted *reader.Restricted // nil: nobody is
	programs   programs
}

// newReaders limits read-ahead to a quarter of the cache: it must not evict what is
// being read.
func newReaders(cacheBytes int64, restricted *reader.Restricted) *readers {
	var bytes int64 = reader.DefaultBudgetBytes
	if cacheBytes > 0 {
		bytes = min(bytes, max(cacheBytes/4, 1<<20))
	}
	return &readers{budget: reader.NewBudget(bytes), restricted: restricted, programs: programs{proc: "/proc"}}
}

var _ fs.File = (*reader.Handle)(nil)

// open opens a file for the program that asked.
func (r *readers) open(t *reader.Torrent, info *weir.TorrentInfo, index int, by fs.Opener) (fs.File, error) {
	access := reader.Full
	if !r.restricted.Empty() {
		access = r.restricted.For(r.programs.names(by.PID, time.Now())...)
	}
	h, err := t.Open(info, index, access)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// programs finds the names of the programs behind the thread ids that come with
// requests of the kernel. It caches them for a second: some programs open many files a
// second.
type programs struct {
	proc string // where the system lists processes

	mu    sync.Mutex
	known map[uint32]program
}

// program is what a thread was found to belong to.
type program struct {
	names []string
	until time.Time // ids are reused
}

const (
	programTime = time.Second
	maxPrograms = 256
)

// names returns the names that the program of a thread is known by: that of its
// executable, and that of its main thread (a script has its own there), which Linux
// cuts at 15 bytes. There are none if the thread is gone or not ours to see.
func (p *programs) names(tid uint32, now time.Time) []string {
	p.mu.Lock()
	found, ok := p.known[tid]
	p.mu.Unlock()
	if ok && now.Before(found.until) {
		return found.names
	}
	found = program{names: p.read(tid), until: now.Add(programTime)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxPrograms {
		p.known = map[uint32]program{}
	}
	p.known[tid] = found
	return found.names
}

// read returns them from /proc.
func (p *programs) read(tid uint32) (names []string) {
	dir := filepath.Join(p.proc, strconv.FormatUint(uint64(tid), 10))
	if main := leader(dir); main != "" {
		dir = filepath.Join(p.proc, main)
	}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		names = append(names, strings.TrimSuffix(filepath.Base(exe), " (deleted)"))
	}
	if comm, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
		if name := strings.TrimSuffix(string(comm), "\n"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// leader returns the id of the process that a thread belongs to, "" if that
// can't be told.
func leader(dir string) string {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(status)) {
		if id, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}
