package wire

import (
	"math"
	"net/netip"

	benc "github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/bencode"
)

// The names of the extensions that we speak (BEP 9, 11, 54, and our own).
const (
	MetadataName = "ut_metadata"
	PexName      = "ut_pex"
	DontHaveName = "lt_donthave"
	PlanName     = "weir_plan"
)

// maxReqq bounds reqq, the number of requests that a peer is willing to queue.
const maxReqq = 1 << 16

// ExtensionHandshake has the values of a peer's extension handshakes (BEP 10) so far: a
// later one changes only what it names. Missing and senseless values are 0.
type ExtensionHandshake struct {
	MetadataID, PexID, DontHaveID, PlanID int // its numbers for our messages
	MetadataSize                          int
	Reqq                                  int
	Port                                  int
	UploadOnly                            bool // it wants no blocks (BEP 21)
	YourIP                                []byte
}

// parseExtensionHandshake reads an extension handshake; h has the values of those before
// it. It takes what it can read, and returns nil if it can't even read the extensions.
func parseExtensionHandshake(b []byte, h ExtensionHandshake) *ExtensionHandshake {
	ids := map[string]*int{MetadataName: &h.MetadataID, PexName: &h.PexID, DontHaveName: &h.DontHaveID, PlanName: &h.PlanID}
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

// OurExtensions are what our extension handshake says (BEP 10).
type OurExtensions struct {
	UserAgent    string
	Reqq         int // requests at a time that we take
	Port         int // 0 if there is none
	YourIP       netip.Addr
	MetadataSize int  // 0 while it is not known
	UploadOnly   bool // we want no blocks (BEP 21)
	Pex          bool // the peer may tell us of others
}

// ourHandshake is the library's type and a key that it doesn't have.
type ourHandshake struct {
	pp.ExtendedHandshakeMessage
	UploadOnly int `bencode:"upload_only"`
}

// Append appends the handshake.
func (o *OurExtensions) Append(b []byte) []byte {
	h := ourHandshake{ExtendedHandshakeMessage: pp.ExtendedHandshakeMessage{
		M:            map[pp.ExtensionName]pp.ExtensionNumber{MetadataName: MetadataID, DontHaveName: DontHaveID, PlanName: PlanID},
		V:            o.UserAgent,
		Reqq:         o.Reqq,
		Port:         o.Port,
		MetadataSize: o.MetadataSize,
	}}
	if o.UploadOnly {
		h.UploadOnly = 1
	}
	if o.Pex {
		h.M[PexName] = PexID
	}
	if o.YourIP.IsValid() {
		h.YourIp = pp.CompactIp(o.YourIP.AsSlice())
	}
	return AppendExtended(b, pp.HandshakeExtendedID, benc.MustMarshal(h))
}

// metadataHead is the dictionary with which a message of BEP 9 begins.
type metadataHead struct {
	Type  int64 `bencode:"msg_type"`
	Piece int64 `bencode:"piece"`
	Total int64 `bencode:"total_size,omitempty"`
}

// AppendMetadataRequest appends a request for a piece of the info dictionary; id is the
// peer's number for these messages.
func AppendMetadataRequest(b []byte, id, piece int) []byte {
	return appendMetadata(b, id, metadataHead{Type: int64(pp.RequestMetadataExtensionMsgType), Piece: int64(piece)}, nil)
}

// AppendMetadataReject appends the refusal of such a request.
func AppendMetadataReject(b []byte, id, piece int) []byte {
	return appendMetadata(b, id, metadataHead{Type: int64(pp.RejectMetadataExtensionMsgType), Piece: int64(piece)}, nil)
}

// AppendMetadata appends a piece of an info dictionary of total bytes.
func AppendMetadata(b []byte, id, piece, total int, data []byte) []byte {
	return appendMetadata(b, id, metadataHead{Type: int64(pp.DataMetadataExtensionMsgType), Piece: int64(piece), Total: int64(total)}, data)
}

func appendMetadata(b []byte, id int, head metadataHead, data []byte) []byte {
	return AppendExtended(b, id, append(benc.MustMarshal(head), data...))
}
