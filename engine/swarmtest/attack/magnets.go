package attack

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MagnetKinds returns kinds against a client that lacks the metadata: what can't be
// judged yet. They leave the connection open, and need several of them.
func MagnetKinds() []Kind {
	return []Kind{
		{Name: "a large size of the metadata", run: func(c *conn) error { return c.put(claim(60 << 20)) }},
		{Name: "a size of the metadata that nobody takes", run: func(c *conn) error { return c.put(claim(1 << 40)) }},
		{Name: "metadata that never comes", run: func(c *conn) error { return c.put(claim(c.Metadata)) }},
		{Name: "wrong metadata", deaf: true, run: func(c *conn) error { return c.answerMetadata(c.Metadata) }},
		{Name: "wrong metadata of another size", deaf: true, run: func(c *conn) error { return c.answerMetadata(4<<20 + int(c.random()%9999)) }},
		{Name: "a bitfield of four million pieces", run: func(c *conn) error {
			return c.put(frame(5, bytes.Repeat([]byte{0xff}, 512<<10)...))
		}},
		{Name: "haves of any piece", run: func(c *conn) error {
			var b []byte
			for range 5000 {
				b = append(b, words(4, int(c.random()%(1<<30)))...)
			}
			return c.put(b)
		}},
		{Name: "wrong metadata of 60 MiB", deaf: true, run: func(c *conn) error { return c.answerMetadata(60 << 20) }},
		{Name: "claims, an unchoke, and no block", run: func(c *conn) error { return c.put(append(frame(14), frame(1)...)) }},
		{Name: "addresses of nobody", run: tellNonsense},
	}
}

func (c *conn) random() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}

// tellNonsense names fifty peers that do not exist.
func tellNonsense(c *conn) error {
	var added []byte
	for range 50 {
		added = append(added, 127, 1)
		added = binary.BigEndian.AppendUint32(added, c.random())
	}
	return c.put(append(claim(0), extended(2, fmt.Sprintf("d5:added%d:%s7:added.f0:e", len(added), added))...))
}

// claim is an extension handshake that offers metadata of a size, and exchange of
// peers.
func claim(size int) []byte {
	return extended(0, fmt.Sprintf("d1:md11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei%de1:v300:%se", size, strings.Repeat("x", 300)))
}

var askedPiece = regexp.MustCompile(`8:msg_typei0e5:piecei([0-9]+)e`)

// answerMetadata claims a size and answers requests for its pieces with noise, until
// none comes for a second.
func (c *conn) answerMetadata(size int) error {
	if err := c.put(claim(size)); err != nil {
		return err
	}
	data := make([]byte, 16<<10)
	_, _ = rand.Read(data)
	head := make([]byte, 4)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(c.Conn, head); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head)
		if n > 1<<20 {
			return errors.New("a long message")
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(c.Conn, m); err != nil {
			return err
		}
		asked := askedPiece.FindSubmatch(m)
		if asked == nil {
			continue
		}
		piece, _ := strconv.Atoi(string(asked[1]))
		part := data[:min(len(data), max(0, size-piece<<14))]
		if err := c.put(extended(1, fmt.Sprintf("d8:msg_typei1e5:piecei%de10:total_sizei%dee%s", piece, size, part))); err != nil {
			return err
		}
	}
}
