package discover

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weirfs/weir"
)

// Bounds on an LSD message (BEP 14).
const (
	maxLSDBytes  = 1400
	maxLSDHashes = 32
	maxLSDCookie = 64
	lsdLine      = len("Infohash: ") + 40 + len("\r\n")
)

// The multicast groups of BEP 14.
var (
	lsdGroup4 = netip.MustParseAddrPort("239.192.152.143:6771")
	lsdGroup6 = netip.MustParseAddrPort("[ff15::efc0:988f]:6771")
)

// lsdMessage is what one program tells the local network.
type lsdMessage struct {
	port   int // where it takes peer connections
	hashes []weir.InfoHash
	cookie string // by which a program knows its own messages
}

// append appends the message as it is sent to group.
func (m lsdMessage) append(b []byte, group netip.AddrPort) []byte {
	b = fmt.Appendf(b, "BT-SEARCH * HTTP/1.1\r\nHost: %s\r\nPort: %d\r\n", group, m.port)
	for _, h := range m.hashes {
		b = fmt.Appendf(b, "Infohash: %s\r\n", h)
	}
	return fmt.Appendf(b, "cookie: %s\r\n\r\n\r\n", m.cookie)
}

// lsdRoom returns how many info hashes fit into a message with the cookie.
func lsdRoom(cookie string) int {
	m := lsdMessage{port: 65535, cookie: cookie}
	return min(maxLSDHashes, (maxLSDBytes-len(m.append(nil, lsdGroup6)))/lsdLine)
}

// parseLSD reads a message. Unknown headers and info hashes that aren't any are
// passed over. The error wraps weir.ErrInvalid.
func parseLSD(b []byte) (lsdMessage, error) {
	var m lsdMessage
	bad := func(what string) (lsdMessage, error) {
		return lsdMessage{}, fmt.Errorf("LSD message: %s: %w", what, weir.ErrInvalid)
	}
	if len(b) > 2*maxLSDBytes {
		return bad("too long")
	}
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	if !bytes.HasPrefix(first, []byte("BT-SEARCH * HTTP/")) {
		return bad("not a search")
	}
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		name, v, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		v = bytes.TrimSpace(v)
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "port":
			port, err := strconv.ParseUint(string(v), 10, 16)
			if err != nil || port == 0 {
				return bad("no port")
			}
			m.port = int(port)
		case "infohash":
			h, err := weir.ParseInfoHash(string(v))
			if err == nil && !h.IsZero() && len(m.hashes) < maxLSDHashes {
				m.hashes = append(m.hashes, h)
			}
		case "cookie":
			m.cookie = string(v[:min(len(v), maxLSDCookie)])
		}
	}
	if m.port == 0 || len(m.hashes) == 0 {
		return bad("no port or no info hash")
	}
	return m, nil
}
