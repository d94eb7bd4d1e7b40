package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/api"
)

// TestPrintTorrents: web seeds have a column where there are any.
func TestPrintTorrents(t *testing.T) {
	list := []api.Torrent{
		{Path: "linux/debian", State: api.StateReading, SizeBytes: 600 << 20, HaveBytes: 300 << 20, Peers: 12, ActiveWebSeeds: 3, DownloadRate: 12 << 20, UploadRate: 1 << 20},
		{Path: "film", State: api.StateCold, SizeBytes: 4 << 30},
	}
	for _, tt := range []struct {
		list []api.Torrent
		want []string // by line
	}{
		{list, []string{"NAME SIZE HAVE PEERS WEB DOWN UP STATE", "linux/debian 600 MiB 50% 12 3 12 MiB/s 1.0 MiB/s reading", "film 4.0 GiB 0% 0 0 - - cold"}},
		{list[1:], []string{"NAME SIZE HAVE PEERS DOWN UP STATE", "film 4.0 GiB 0% 0 - - cold"}},
		{[]api.Torrent{{Path: "film", State: api.StateComplete, SizeBytes: 4 << 30, HaveBytes: 4 << 30, Uploaded: 6 << 30, Ratio: 1.5}},
			[]string{"NAME SIZE HAVE PEERS DOWN UP GIVEN RATIO STATE", "film 4.0 GiB 100% 0 - - 6.0 GiB 1.50 complete"}},
	} {
		var b bytes.Buffer
		if err := printTorrents(&b, tt.list, 0); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		for i, line := range lines {
			if len(line) > 80 {
				t.Errorf("%d columns: %s", len(line), line)
			}
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		if got, want := strings.Join(lines, "\n"), strings.Join(tt.want, "\n"); got != want {
			t.Errorf("printed\n%s\nwant\n%s", got, want)
		}
	}
}
