package source

import (
	"net/url"
	"strings"

	"github.com/weirfs/weir"
)

// itemTorrent returns where the torrent is of an item whose page rawURL names, at the
// sites that keep it at a place which follows from the item's name: the Internet
// Archive (details/ITEM and download/ITEM) and Academic Torrents (details/HASH). Any
// other URL is returned as it is.
func itemTorrent(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return rawURL
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	item, inside, _ := strings.Cut(rest, "/")
	switch strings.TrimPrefix(strings.ToLower(u.Host), "www.") {
	case "archive.org":
		// A page may show one file of the item; a download of one is that file.
		if isItem(item) && (kind == "details" || kind == "download" && inside == "") {
			return "https://archive.org/download/" + item + "/" + item + "_archive.torrent"
		}
	case "academictorrents.com":
		if ih, err := weir.ParseInfoHash(item); kind == "details" && err == nil {
			return "https://academictorrents.com/download/" + ih.String() + ".torrent"
		}
	}
	return rawURL
}

// isItem reports whether s can be the name of an item of the Internet Archive.
func isItem(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && strings.Trim(s, ".") != ""
}
