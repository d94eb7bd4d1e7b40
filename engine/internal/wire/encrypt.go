package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/anacrolix/torrent/mse"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
)

// Encryption says whether connections are obfuscated (message stream
// encryption). It hides the protocol from the network between, not from peers.
type Encryption uint8

// The choices.
const (
	EncryptionAllowed  Encryption = iota // plaintext first, then encrypted; accepts both
	EncryptionRequired                   // RC4 only, in both directions
	EncryptionOff                        // plaintext only
)

// stream is a connection whose bytes pass through the obfuscation.
type stream struct {
	net.Conn
	rw io.ReadWriter
}

func (s stream) Read(p []byte) (int, error)  { return s.rw.Read(p) }
func (s stream) Write(p []byte) (int, error) { return s.rw.Write(p) }

// SyscallConn returns the socket. It is for its options, not for its bytes.
func (s stream) SyscallConn() (syscall.RawConn, error) {
	if c, ok := s.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Encrypt encrypts an outgoing connection. first is sent along with the handshake.
func Encrypt(ctx context.Context, conn net.Conn, ih weir.InfoHash, first []byte, e Encryption) (net.Conn, error) {
	methods := mse.AllSupportedCrypto
	if e == EncryptionRequired {
		methods = mse.CryptoMethodRC4
	}
	rw, _, err := mse.InitiateHandshakeContext(ctx, conn, ih[:], first, methods)
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return stream{conn, rw}, nil
}

// Accept looks at the first bytes of an incoming connection and decrypts it if
// it is encrypted. each calls yield with the info hashes that we serve until it
// returns false. What e does not allow is refused with weir.ErrInvalid.
func Accept(ctx context.Context, conn net.Conn, e Encryption, each func(yield func(weir.InfoHash) bool)) (net.Conn, error) {
	head := make([]byte, len(pp.Protocol))
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	plain := string(head) == pp.Protocol
	if plain && e == EncryptionRequired || !plain && e == EncryptionOff {
		return nil, weir.Errorf(weir.ErrInvalid, "peer's encryption is not what we allow")
	}
	again := stream{conn, readWriter{io.MultiReader(bytes.NewReader(head), conn), conn}}
	if plain {
		return again, nil
	}
	choose := mse.DefaultCryptoSelector
	if e == EncryptionRequired {
		choose = func(mse.CryptoMethod) mse.CryptoMethod { return mse.CryptoMethodRC4 }
	}
	keys := func(callback func([]byte) bool) {
		each(func(ih weir.InfoHash) bool { return callback(ih[:]) })
	}
	rw, _, err := mse.ReceiveHandshake(ctx, again, keys, choose)
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return stream{conn, rw}, nil
}

type readWriter struct {
	io.Reader
	io.Writer
}
