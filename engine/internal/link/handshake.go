package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// ErrHungUp says that the peer closed the connection instead of a handshake.
var ErrHungUp = errors.New("peer hung up in the handshake")

// Mode is a way of speaking to a peer first. Peers that hang up on one are tried with
// the next at once.
type Mode uint8

// The modes, in the order in which they are tried.
const (
	PlainEarly     Mode = iota // plaintext; what we have and our interest go with the handshake
	EncryptedEarly             // the same, obfuscated
	PlainLate                  // plaintext, nothing before the answer
	modes
)

// underOther is added to a Mode for a handshake under the other hash of a hybrid
// torrent: a peer that has no metadata may know only that.
const underOther = modes

// Split returns the mode without the hash, and whether that is the other one of a
// hybrid torrent.
func (m Mode) Split() (mode Mode, other bool) { return m % modes, m >= underOther }

// Next returns the Mode to try after m failed, false when all were tried.
func (m Mode) Next(e wire.Encryption, hybrid bool) (Mode, bool) {
	m, other := m.Split()
	for m++; m < modes; m++ {
		if (m == EncryptedEarly) == (e == wire.EncryptionRequired) || e == wire.EncryptionAllowed {
			if other {
				m += underOther
			}
			return m, true
		}
	}
	if hybrid && !other {
		return FirstMode(e) + underOther, true
	}
	return FirstMode(e), false
}

// FirstMode returns the Mode that a new peer is tried with.
func FirstMode(e wire.Encryption) Mode {
	if e == wire.EncryptionRequired {
		return EncryptedEarly
	}
	return PlainEarly
}

// Handshake is what we say first on a connection that we made.
type Handshake struct {
	Mode       Mode
	Encryption wire.Encryption
	Hello      wire.Handshake
	// Early are messages that go out before the other side has answered: its answer
	// then comes with an unchoke, a round trip earlier, and with the first blocks,
	// another one.
	Early []byte
	// Accepts reports whether the peer may answer with another info hash than ours.
	Accepts func(weir.InfoHash) bool
}

// Dialed shakes hands on a connection that we made. The connection that it returns
// is the one to go on with. Errors that wrap ErrHungUp call for another Mode. Whoever
// calls it closes conn when it fails.
func (h *Handshake) Dialed(ctx context.Context, conn net.Conn) (net.Conn, wire.Handshake, error) {
	raw := conn // conn changes below, while this may run
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	out := append(h.Hello.Append(nil), h.Early...)
	var err error
	if mode, _ := h.Mode.Split(); mode == EncryptedEarly {
		// The handshake alone goes with the encrypted one: libtorrent loses its
		// place when there is more.
		conn, err = wire.Encrypt(ctx, conn, h.Hello.InfoHash, out[:wire.HandshakeBytes], h.Encryption)
		out = out[wire.HandshakeBytes:]
	}
	if err == nil && len(out) > 0 {
		_, err = conn.Write(out)
	}
	var in wire.Handshake
	if err == nil {
		in, err = wire.ReadHandshake(conn)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return nil, in, fmt.Errorf("%w: %w", ErrHungUp, err)
	case err != nil:
		return nil, in, err
	case in.InfoHash != h.Hello.InfoHash && !h.Accepts(in.InfoHash):
		return nil, in, weir.Errorf(weir.ErrInvalid, "peer has another torrent")
	}
	return conn, in, nil
}

// incomingTimeout is the time that an incoming connection has for its handshake: a
// few round trips.
const incomingTimeout = 5 * time.Second

// Incoming says how to answer the handshake of a connection that came to us.
type Incoming struct {
	Encryption wire.Encryption
	// Hashes calls yield with the info hashes that we know, until it returns false.
	Hashes func(yield func(weir.InfoHash) bool)
	// Answer returns our handshake for that of a peer, and the hash that the
	// connection is for from then on.
	Answer func(theirs wire.Handshake) (wire.Handshake, error)
}

// Accepted shakes hands on a connection that came to us. What it returns is the
// connection to go on with, and the peer's handshake with the info hash of ours. The
// connection fails when ctx ends before.
func (h *Incoming) Accepted(ctx context.Context, raw net.Conn) (net.Conn, wire.Handshake, error) {
	_ = raw.SetDeadline(time.Now().Add(incomingTimeout))
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := wire.Accept(ctx, raw, h.Encryption, h.Hashes)
	if err != nil {
		return nil, wire.Handshake{}, err
	}
	theirs, err := wire.ReadHandshake(conn)
	if err != nil {
		return nil, theirs, err
	}
	ours, err := h.Answer(theirs)
	if err != nil {
		return nil, theirs, err
	}
	theirs.InfoHash = ours.InfoHash
	if _, err := conn.Write(ours.Append(nil)); err != nil {
		return nil, theirs, err
	}
	if !stop() {
		return nil, theirs, context.Cause(ctx)
	}
	return conn, theirs, conn.SetDeadline(time.Time{})
}
