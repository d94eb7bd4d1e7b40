package discover

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

// PexFlags say what the sender of a PEX message knows of a peer (BEP 11).
type PexFlags byte

// The flags of BEP 11.
const (
	PexEncryption PexFlags = 1 << iota // prefers encryption
	PexSeed                            // uploads only
	PexUTP                             // speaks uTP
	PexHolepunch                       // speaks BEP 55
	PexOutgoing                        // the sender dialed it, so it can be reached
)

// PexPeer is a peer in a PEX message.
type PexPeer struct {
	Addr  netip.AddrPort // never an IPv4 address in IPv6 form
	Flags PexFlags
}

// PexMessage is the payload of a ut_pex message (BEP 11).
type PexMessage struct {
	Added   []PexPeer
	Dropped []netip.AddrPort
}

// Bounds on a PEX message. BEP 11 allows 50 of each; the first message of some
// programs is longer, so that as much is read before the rest is ignored.
const (
	maxPexBytes  = 64 << 10
	maxPexListed = 200
)

// Append appends the bencoded message to b. The keys are always all there, as
// some programs demand them.
func (m PexMessage) Append(b []byte) []byte {
	var added, added6, flags, flags6, dropped, dropped6 []byte
	for _, p := range m.Added {
		if p.Addr.Addr().Unmap().Is4() {
			added, flags = appendCompact(added, p.Addr), append(flags, byte(p.Flags))
		} else {
			added6, flags6 = appendCompact(added6, p.Addr), append(flags6, byte(p.Flags))
		}
	}
	for _, a := range m.Dropped {
		if a.Addr().Unmap().Is4() {
			dropped = appendCompact(dropped, a)
		} else {
			dropped6 = appendCompact(dropped6, a)
		}
	}
	b = append(b, 'd')
	for _, e := range []struct { // sorted, as bencoding wants
		key string
		v   []byte
	}{
		{"added", added}, {"added.f", flags}, {"added6", added6}, {"added6.f", flags6},
		{"dropped", dropped}, {"dropped6", dropped6},
	} {
		b = appendString(appendString(b, e.key), e.v)
	}
	return append(b, 'e')
}

// pexKeys are what is read of a message.
var pexKeys = []string{"added", "added.f", "added6", "added6.f", "dropped", "dropped6"}

// ParsePex reads the payload of a ut_pex message. Missing keys and flags are
// fine, lists past the bounds are cut. The addresses are as the peer gave them:
// PexIn says which to believe. The error wraps weir.ErrInvalid.
func ParsePex(b []byte) (PexMessage, error) {
	if len(b) > maxPexBytes {
		return PexMessage{}, fmt.Errorf("PEX message of %d bytes: %w", len(b), weir.ErrInvalid)
	}
	keys := map[string][]byte{}
	c := bencode.New(b)
	err := c.Dict(func(key []byte) error {
		if c.Kind() != bencode.String || !slices.Contains(pexKeys, string(key)) {
			return c.Skip()
		}
		v, err := c.String()
		keys[string(key)] = v
		return err
	})
	if err != nil {
		return PexMessage{}, fmt.Errorf("PEX message: %w", err)
	}
	var m PexMessage
	for _, family := range []struct {
		suffix string
		size   int
	}{{"", compact4Bytes}, {"6", compact6Bytes}} {
		flags := keys["added"+family.suffix+".f"]
		for i, a := range parseCompact(keys["added"+family.suffix], family.size, maxPexListed) {
			p := PexPeer{Addr: a}
			if i < len(flags) {
				p.Flags = PexFlags(flags[i])
			}
			m.Added = append(m.Added, p)
		}
		dropped := parseCompact(keys["dropped"+family.suffix], family.size, maxPexListed)
		m.Dropped = append(m.Dropped, dropped...)
	}
	return m, nil
}
