package source

import "testing"

func TestItemTorrent(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	for in, want := range map[string]string{
		"https://archive.org/details/night_of_the_living_dead":   "https://archive.org/download/night_of_the_living_dead/night_of_the_living_dead_archive.torrent",
		"http://www.archive.org/details/a-b.c":                   "https://archive.org/download/a-b.c/a-b.c_archive.torrent",
		"https://Archive.org/details/item/":                      "https://archive.org/download/item/item_archive.torrent",
		"https://archive.org/details/item/one%20file.mp4?start":  "https://archive.org/download/item/item_archive.torrent",
		"https://archive.org/download/item":                      "https://archive.org/download/item/item_archive.torrent",
		"https://archive.org/download/item/":                     "https://archive.org/download/item/item_archive.torrent",
		"https://archive.org/download/item/x.torrent":            "https://archive.org/download/item/x.torrent",
		"https://archive.org/details/":                           "https://archive.org/details/",
		"https://archive.org/details/..":                         "https://archive.org/details/..",
		"https://archive.org/details/a%2Fb":                      "https://archive.org/details/a%2Fb",
		"https://archive.org/search?q=details/item":              "https://archive.org/search?q=details/item",
		"https://evil.example/details/item":                      "https://evil.example/details/item",
		"https://archive.org.evil.example/details/item":          "https://archive.org.evil.example/details/item",
		"https://academictorrents.com/details/" + hash:           "https://academictorrents.com/download/" + hash + ".torrent",
		"https://academictorrents.com/details/" + hash + "/tech": "https://academictorrents.com/download/" + hash + ".torrent",
		"https://academictorrents.com/details/short":             "https://academictorrents.com/details/short",
		"magnet:?xt=urn:btih:" + hash:                            "magnet:?xt=urn:btih:" + hash,
	} {
		if got := itemTorrent(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
