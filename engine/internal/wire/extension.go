package wire

import (
	"math"

	"github.com/weirfs/weir/engine/internal/bencode"
)

// The names of the extensions that we speak (BEP 9, 11, 54).
const (
	MetadataName = "ut_metadata"
	PexName      = "ut_pex"
	DontHaveName = "lt_donthave"
)

// maxReqq bounds reqq, the number of requests that a peer is willing to queue.
const maxReqq = 1 << 16

// ExtensionHandshake has the values of a peer's extension handshakes (BEP 10) so far: a
// later one changes only what it names. Missing and senseless values are 0.
type ExtensionHandshake struct {
	MetadataID, PexID, DontHaveID int // its numbers for our messages
	MetadataSize                  int
	Reqq                          int
	Port                          int
	UploadOnly                    bool // it wants no blocks (BEP 21)
	YourIP                        []byte
}

// parseExtensionHandshake reads an extension handshake; h has the values of those before
// it. It takes what it can read, and returns nil if it can't even read the extensions.
func parseExtensionHandshake(b []byte, h ExtensionHandshake) *ExtensionHandshake {
	ids := map[string]*int{MetadataName: &h.MetadataID, PexName: &h.PexID, DontHaveName: &h.DontHaveID}
	c, named := bencode.New(b), false
	number := func(to *int, most int64) error {
		n := int64(-1)
		err := c.MaybeInt(&n)
		if err == nil && n >= 0 && n <= most {
			*to = int(n)
		}
		return err
	}
	err := c.Dict(func(key []byte) error {
		switch string(key) {
		case "m":
			named = named || c.Kind() == bencode.Dict
			return c.MaybeDict(func(name []byte) error {
				if id := ids[string(name)]; id != nil {
					return number(id, math.MaxUint8)
				}
				return c.Skip()
			})
		case "reqq":
			err := number(&h.Reqq, math.MaxInt64)
			h.Reqq = min(h.Reqq, maxReqq)
			return err
		case "metadata_size":
			return number(&h.MetadataSize, math.MaxInt32)
		case "upload_only":
			n := 0
			err := number(&n, math.MaxInt32)
			h.UploadOnly = n != 0
			return err
		case "p":
			return number(&h.Port, math.MaxUint16)
		case "yourip":
			return c.MaybeString(&h.YourIP)
		}
		return c.Skip()
	})
	if err != nil && !named {
		return nil
	}
	return &h
}

// MetadataMessage is a message of BEP 9.
type MetadataMessage struct {
	Type, Piece int
	Data        []byte // what follows the dictionary
}

func parseMetadata(b []byte) (*MetadataMessage, error) {
	m := MetadataMessage{Type: -1, Piece: -1}
	c := bencode.New(b)
	err := c.Dict(func(key []byte) error {
		var to *int
		switch string(key) {
		case "msg_type":
			to = &m.Type
		case "piece":
			to = &m.Piece
		default:
			return c.Skip()
		}
		n, err := c.Int()
		if n > math.MaxInt32 || n < 0 {
			n = math.MaxInt32
		}
		*to = int(n)
		return err
	})
	m.Data = c.Rest()
	return &m, err
}
