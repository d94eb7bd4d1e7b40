// Package pex is peer exchange (BEP 11): the messages, which addresses to send to a peer
// and when, and which to accept from one. It has no I/O and no clock. Connections, and
// what is done with an address, do not belong here. Private torrents (BEP 27) must not
// use it.
package pex

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Flags are what the sender of a message knows of a peer.
type Flags byte

// The flags of BEP 11.
const (
	Encryption Flags = 1 << iota // prefers encryption
	Seed                         // uploads only
	UTP                          // speaks uTP
	Holepunch                    // speaks BEP 55
	Outgoing                     // the sender dialed it, so it can be reached
)

// Peer is a peer in a message.
type Peer struct {
	Addr  netip.AddrPort // never an IPv4 address in IPv6 form
	Flags Flags
}

// Message is the payload of a ut_pex message.
type Message struct {
	Added   []Peer
	Dropped []netip.AddrPort
}

// Bounds on a message that is read. BEP 11 allows 50 of each; the first message of some
// programs is longer.
const (
	maxBytes  = 64 << 10
	maxListed = 200 // of each kind and family; the rest is ignored
)

// Append appends the bencoded message to b. All keys are always there, as some
// programs demand them.
func (m Message) Append(b []byte) []byte {
	var added, added6, flags, flags6, dropped, dropped6 []byte
	for _, p := range m.Added {
		if p.Addr.Addr().Unmap().Is4() {
			added, flags = peeraddr.Append(added, p.Addr), append(flags, byte(p.Flags))
		} else {
			added6, flags6 = peeraddr.Append(added6, p.Addr), append(flags6, byte(p.Flags))
		}
	}
	for _, a := range m.Dropped {
		if a.Addr().Unmap().Is4() {
			dropped = peeraddr.Append(dropped, a)
		} else {
			dropped6 = peeraddr.Append(dropped6, a)
		}
	}
	b = append(b, 'd')
	for _, e := range []struct { // sorted by key
		key   string
		value []byte
	}{
		{"added", added}, {"added.f", flags}, {"added6", added6}, {"added6.f", flags6},
		{"dropped", dropped}, {"dropped6", dropped6},
	} {
		b = bencode.AppendString(bencode.AppendString(b, e.key), e.value)
	}
	return append(b, 'e')
}

// keys are what is read of a message.
var keys = []string{"added", "added.f", "added6", "added6.f", "dropped", "dropped6"}

// Parse reads the payload of a ut_pex message. Missing keys and flags are fine. The
// addresses are not checked: Receiver does that. The error wraps weir.ErrInvalid.
func Parse(b []byte) (Message, error) {
	if len(b) > maxBytes {
		return Message{}, weir.Errorf(weir.ErrInvalid, "PEX message of %d bytes, at most %d are allowed", len(b), maxBytes)
	}
	values := map[string][]byte{}
	c := bencode.New(b)
	err := c.Dict(func(key []byte) error {
		if !slices.Contains(keys, string(key)) {
			return c.Skip()
		}
		var v []byte
		err := c.MaybeString(&v)
		values[string(key)] = v
		return err
	})
	if err != nil {
		return Message{}, fmt.Errorf("PEX message: %w", err)
	}
	var m Message
	for _, family := range []struct {
		suffix string
		size   int
	}{{"", peeraddr.Bytes4}, {"6", peeraddr.Bytes6}} {
		flags := values["added"+family.suffix+".f"]
		for i, a := range peeraddr.Parse(values["added"+family.suffix], family.size, maxListed) {
			p := Peer{Addr: a}
			if i < len(flags) {
				p.Flags = Flags(flags[i])
			}
			m.Added = append(m.Added, p)
		}
		dropped := peeraddr.Parse(values["dropped"+family.suffix], family.size, maxListed)
		m.Dropped = append(m.Dropped, dropped...)
	}
	return m, nil
}
