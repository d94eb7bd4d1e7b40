package source

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/weirfs/weir"
)

// ParseMagnet reads a magnet (BEP 9): xt with a v1 info hash in hexadecimal or
// base32 (btih), a v2 one as a multihash in hexadecimal (btmh), or both; dn, tr
// (each a tier of its own), x.pe, ws, dht (nodes of the DHT) and so (BEP 53).
// Numbered keys ("tr.1") count like plain ones. xs and as, URLs of metadata, are never
// fetched: a magnet from the web must not make us send requests to any address.
// Parameters that can't be read or used are ignored, as long as there is an info hash;
// the last of several counts, as with libtorrent. The Spec has no Info. The error wraps
// weir.ErrInvalid.
//
// anacrolix's parser is not used: it panics on base32 with padding, refuses
// lower-case base32, and lets one bad escape silently drop its parameter.
func ParseMagnet(s string) (*Spec, error) {
	if len(s) > MaxMagnetBytes {
		return nil, weir.Errorf(weir.ErrInvalid, "the magnet has %d bytes (limit %d)", len(s), MaxMagnetBytes)
	}
	if !hasScheme(s, "magnet") {
		return nil, magnetError("it does not begin with \"magnet:?\"")
	}
	_, query, ok := strings.Cut(s, "?")
	if !ok {
		return nil, magnetError("it has no \"?\"")
	}
	var m magnet
	for param := range strings.SplitSeq(strings.TrimSpace(query), "&") {
		// A magnet copied out of a page's source has &amp; between its parameters.
		key, value, _ := strings.Cut(strings.TrimPrefix(param, "amp;"), "=")
		if text, err := url.QueryUnescape(value); err == nil {
			value = text
		} // else it may be a name with a plain per cent sign: take it as it is
		m.add(plainKey(key), value)
	}
	switch {
	case !m.spec.InfoHash.IsZero():
	case m.v2:
		m.spec.InfoHash = Truncate(m.spec.InfoHashV2)
	case m.badTopic != "":
		return nil, magnetError(fmt.Sprintf("xt=%s has no info hash: that has 40 hexadecimal digits or 32 base32 characters, or for a v2 torrent 1220 and 64 hexadecimal digits", quote(m.badTopic)))
	default:
		return nil, magnetError("it has no xt=urn:btih: or urn:btmh: with an info hash")
	}
	m.spec.Trackers = m.trackers.tiers
	m.spec.WebSeeds = m.seeds.urls
	m.spec.Nodes = m.nodes.nodes
	return &m.spec, nil
}

// Magnet returns a link that leads to the torrent: its names, trackers and web seeds.
func (s *Spec) Magnet() string {
	var params []string
	add := func(key, value string) {
		params = append(params, key+"="+strings.ReplaceAll(url.QueryEscape(value), "+", "%20")) // not all take a plus for a space
	}
	names := s.Names()
	if !names.V1.IsZero() {
		params = append(params, "xt=urn:btih:"+names.V1.String())
	}
	if !names.V2.IsZero() {
		params = append(params, fmt.Sprintf("xt=urn:btmh:1220%x", s.InfoHashV2))
	}
	if s.Name != "" {
		add("dn", s.Name)
	}
	for _, tier := range s.Trackers {
		for _, tracker := range tier {
			add("tr", tracker)
		}
	}
	for _, seed := range s.WebSeeds {
		add("ws", seed)
	}
	return "magnet:?" + strings.Join(params, "&")
}

func magnetError(why string) error {
	return weir.Errorf(weir.ErrInvalid, "bad magnet: %s; a magnet looks like %s", why, exampleMagnet)
}

// plainKey removes the number of a parameter that is given more than once, and
// lowers the case.
func plainKey(key string) string {
	key = strings.ToLower(key)
	if i := strings.LastIndexByte(key, '.'); i > 0 && strings.Trim(key[i+1:], "0123456789") == "" {
		return key[:i]
	}
	return key
}

// magnet collects what a magnet says while it is read.
type magnet struct {
	spec     Spec
	v2       bool   // a v2 info hash is there
	badTopic string // a topic that we can't read; an error only if there is no other hash
	trackers trackerTiers
	seeds    webSeeds
	nodes    dhtNodes
	peers    map[string]bool
}

func (m *magnet) add(key, value string) {
	switch key {
	case "xt":
		m.addTopic(strings.TrimSpace(value))
	case "dn":
		if m.spec.Name == "" {
			m.spec.Name = value
		}
	case "tr":
		m.trackers.add(value)
	case "ws":
		m.seeds.add(value)
	case "dht": // as libtorrent writes it
		m.nodes.add(value)
	case "so":
		m.spec.SelectOnly = addSelection(m.spec.SelectOnly, value)
	case "x.pe":
		peer, err := ParsePeer(value)
		if err != nil || m.peers[peer] || len(m.peers) == maxPeers {
			return
		}
		if m.peers == nil {
			m.peers = make(map[string]bool)
		}
		m.peers[peer] = true
		m.spec.Peers = append(m.spec.Peers, peer)
	}
}

// addTopic reads an xt. Whether a btih and a btmh are of the same torrent shows when the
// metadata arrives.
func (m *magnet) addTopic(urn string) {
	const btih, btmh = "urn:btih:", "urn:btmh:"
	head, hash := strings.ToLower(urn[:min(len(urn), len(btih))]), ""
	if len(urn) > len(btih) {
		hash = strings.TrimSpace(urn[len(btih):])
	}
	switch head {
	case btmh:
		const sha256Bytes32 = "1220" // how a multihash of that kind and length begins
		text, ok := strings.CutPrefix(hash, sha256Bytes32)
		if v2, err := parseHashV2(text); err == nil && ok {
			m.spec.InfoHashV2, m.v2 = v2, true
			return
		}
		m.badTopic = urn
	case btih:
		if ih, err := parseHash(hash); err == nil {
			m.spec.InfoHash = ih
			return
		}
		m.badTopic = urn
	}
}
