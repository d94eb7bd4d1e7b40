package daemon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestSourceFiles mounts with texts and shortcuts as sources.
func TestSourceFiles(t *testing.T) {
	torrent := newContent(t, "fetched").Torrent(swarmtest.Hints{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(torrent) }))
	defer server.Close()
	magnet := func(n int) string {
		return fmt.Sprintf("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef012345%02d&dn=m%d", n, n)
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := write("x.url", "[InternetShortcut]\r\nURL="+server.URL+"/x\r\n")
	o := options(t, link, write("y.desktop", "[Desktop Entry]\nURL="+magnet(1)), write("list", "\ufeff"+magnet(2)+"\n"+magnet(3)+"\n"))
	o.AllowPrivate = true
	d := open(t, o)
	names := d.Names()
	slices.Sort(names)
	if want := []string{"fetched", "m1", "m2", "m3"}; !slices.Equal(names, want) {
		t.Errorf("shown: %q, want %q", names, want)
	}

	refused := func(source, says string, private bool) {
		t.Helper()
		o := options(t, source)
		o.AllowPrivate = private
		d := daemon.New(o)
		err := d.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", source, err, says)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	refused(link, "--allow-private", false) // nobody knows who wrote the address
	refused(write("z.desktop", "[Desktop Entry]\nType=Application\n"), "z.desktop: is a shortcut without a URL", true)
	refused(write("page.torrent", "<html>"), "is a web page, not a torrent", true)
}
