package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/weirfs/weir/engine/swarmtest"
)

// logText is a log that can be read while it is written.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWatchRefuses puts into a watched folder what somebody else could: links to
// files of the user who runs weir, pipes, devices' like, files that are too large,
// and addresses of this machine.
func TestWatchRefuses(t *testing.T) {
	const secret = "SeCrEt"
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	outside, dir := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	torrent := newContent(t, "linked").Torrent(swarmtest.Hints{})
	must(os.WriteFile(filepath.Join(outside, "shadow"), []byte("root:$"+secret+":\n"), 0o600))
	must(os.WriteFile(filepath.Join(outside, "good.torrent"), torrent, 0o600))
	must(os.Symlink(filepath.Join(outside, "shadow"), filepath.Join(dir, "link.torrent")))
	must(os.Symlink(filepath.Join(outside, "shadow"), filepath.Join(dir, "link.magnet")))
	must(os.Symlink(filepath.Join(outside, "good.torrent"), filepath.Join(dir, "good.torrent")))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe.torrent"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "folder.torrent"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "large.torrent"), nil, 0o600))
	must(os.Truncate(filepath.Join(dir, "large.torrent"), 1<<40))
	must(os.WriteFile(filepath.Join(dir, "url.magnet"), []byte(server.URL+"/announce?key="+secret+"\n"), 0o600))

	log := &logText{}
	o := options(t)
	o.Watch, o.Log = []string{dir}, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := open(t, o)
	for name, why := range map[string]string{
		"link.torrent": "symbolic link", "link.magnet": "symbolic link", "good.torrent": "symbolic link", "pipe.torrent": "not a regular file",
		"folder.torrent": "directory", "large.torrent": "more than any .torrent", "URL of a watched folder": "--allow-private",
	} {
		eventually(t, fmt.Sprintf("the log says why %s is refused", name), func() bool {
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, name) && strings.Contains(line, why) && strings.Contains(line, "level=ERROR") {
					return true
				}
			}
			return false
		})
	}
	must(os.WriteFile(filepath.Join(dir, "vi.desktop"), []byte("[Desktop Entry]\nType=Application\nExec=vi\n"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234569\n"), 0o600))
	// What is right is added all the same.
	must(os.WriteFile(filepath.Join(dir, "plain.torrent"), torrent, 0o600))
	eventually(t, "the plain file is shown", func() bool { return d.Count() == 1 })
	must(os.WriteFile(filepath.Join(dir, "a.url"), []byte("\ufeff[InternetShortcut]\r\nURL=magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567\r\n"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "b.DESKTOP"), []byte("[Desktop Entry]\nURL=magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234568\n"), 0o600))
	eventually(t, "shortcuts are followed", func() bool { return d.Count() == 3 })
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "vi.desktop") && !strings.Contains(line, "level=DEBUG") || strings.Contains(line, "readme.txt") {
			t.Errorf("the log tells of what is no torrent: %s", line)
		}
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log shows what was refused:\n%s", log)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("a file in a watched folder sent %d requests to this machine", n)
	}
}
