package lsd

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weirfs/weir"
)

// Bounds on an LSD message (BEP 14).
const (
	maxBytes  = 1400
	maxHashes = 32
	maxCookie = 64
	lineBytes = len("Infohash: ") + 40 + len("\r\n")
)

// The multicast groups of BEP 14.
var (
	group4 = netip.MustParseAddrPort("239.192.152.143:6771")
	group6 = netip.MustParseAddrPort("[ff15::efc0:988f]:6771")
)

// message is what one program announces to the local network.
type message struct {
	port   int // where it takes peer connections
	hashes []weir.InfoHash
	cookie string // by which a program knows its own messages
}

// append appends the message as it is sent to group.
func (m message) append(b []byte, group netip.AddrPort) []byte {
	b = fmt.Appendf(b, "BT-SEARCH * HTTP/1.1\r\nHost: %s\r\nPort: %d\r\n", group, m.port)
	for _, h := range m.hashes {
		b = fmt.Appendf(b, "Infohash: %s\r\n", h)
	}
	return fmt.Appendf(b, "cookie: %s\r\n\r\n\r\n", m.cookie)
}

// capacity returns how many info hashes fit into a message with the cookie.
func capacity(cookie string) int {
	m := message{port: 65535, cookie: cookie}
	return min(maxHashes, (maxBytes-len(m.append(nil, group6)))/lineBytes)
}

// parseMessage reads a message. Unknown headers and malformed info hashes are skipped. The error wraps weir.ErrInvalid.
func parseMessage(b []byte) (message, error) {
	var m message
	bad := func(what string) (message, error) {
		return message{}, weir.Errorf(weir.ErrInvalid, "LSD message: %s", what)
	}
	if len(b) > 2*maxBytes {
		return bad("longer than " + strconv.Itoa(2*maxBytes) + " bytes")
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
				return bad("a port that is not between 1 and 65535")
			}
			m.port = int(port)
		case "infohash":
			h, err := weir.ParseInfoHash(string(v))
			if err == nil && !h.IsZero() && len(m.hashes) < maxHashes {
				m.hashes = append(m.hashes, h)
			}
		case "cookie":
			m.cookie = string(v[:min(len(v), maxCookie)])
		}
	}
	if m.port == 0 || len(m.hashes) == 0 {
		return bad("no port or no info hash")
	}
	return m, nil
}
