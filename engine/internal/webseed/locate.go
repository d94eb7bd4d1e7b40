package webseed

import (
	"net/url"
	"strings"

	"github.com/weirfs/weir"
)

// Locate returns the URL of a file of the torrent at a web seed (BEP 19). The URL
// of a single file is base, or what stands beneath it if base ends with a slash. The
// files of a folder are beneath base: the torrent's name, then the path. Names are
// the metainfo's own bytes, each component escaped once; what is escaped in base
// stays as it is. A query of base is kept, unless it ends in '=' or '/': then it is
// what names are appended to.
func Locate(base *url.URL, info *weir.TorrentInfo, file int) *url.URL {
	u := *base
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = escapeRaw(u.RawQuery)
	inQuery := strings.HasSuffix(u.RawQuery, "=") || strings.HasSuffix(u.RawQuery, "/")
	at := u.EscapedPath()
	if inQuery {
		at = u.RawQuery
	}
	if info.Single {
		if strings.HasSuffix(at, "/") || inQuery {
			at += escape(info.RawName())
		}
	} else {
		if !strings.HasSuffix(at, "/") && !inQuery {
			at += "/"
		}
		at += escape(info.RawName())
		for _, c := range info.RawPath(file) {
			at += "/" + escape(c)
		}
	}
	if inQuery {
		u.RawQuery = at
		return &u
	}
	if at == "" {
		at = "/"
	}
	u.RawPath = at
	u.Path, _ = url.PathUnescape(at) // escaped by EscapedPath and by escape
	return &u
}

const upperHex = "0123456789ABCDEF"

// escape escapes every byte of a path component that is not unreserved (RFC 3986,
// 2.3). A '+' is among them: some servers take it for a space.
func escape(component string) string {
	return escapeBytes(component, func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
	})
}

// escapeRaw escapes what must not stand in a URL: control characters, spaces and
// bytes beyond ASCII.
func escapeRaw(s string) string {
	return escapeBytes(s, func(c byte) bool { return ' ' < c && c < 0x7f && strings.IndexByte(`"<>\^`+"`{|}", c) < 0 })
}

func escapeBytes(s string, plain func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + string(upperHex[c>>4]) + string(upperHex[c&15]))
		}
	}
	return b.String()
}
