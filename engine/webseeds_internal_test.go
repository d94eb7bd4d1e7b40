package engine

import (
	"net/url"
	"testing"

	"github.com/weirfs/weir"
)

func TestNewerTorrent(t *testing.T) {
	item := &weir.TorrentInfo{Name: "an item"}
	for base, want := range map[string]string{
		"https://archive.org/download/":             "https://archive.org/download/an%20item/an%20item_archive.torrent",
		"http://ia600000.us.archive.org/14/items/":  "https://archive.org/download/an%20item/an%20item_archive.torrent",
		"https://notarchive.org/download/":          "",
		"https://archive.org.example.net/download/": "",
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		if got := newerTorrent(u, item); got != want {
			t.Errorf("%s: %q, want %q", base, got, want)
		}
	}
	u, _ := url.Parse("https://archive.org/download/")
	if got := newerTorrent(u, &weir.TorrentInfo{Name: "x", Single: true}); got != "" {
		t.Errorf("a single file is no item: %q", got)
	}
}
