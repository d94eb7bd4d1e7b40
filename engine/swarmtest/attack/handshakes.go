package attack

import "crypto/rand"

// handshakes are kinds that never get as far as messages.
var handshakes = []Kind{
	{Name: "silence", bare: true, run: func(*conn) error { return nil }},
	{Name: "half a handshake", bare: true, run: func(c *conn) error { return c.put(c.hello()[:48]) }},
	{Name: "noise", bare: true, run: func(c *conn) error {
		b := make([]byte, 32<<10)
		_, _ = rand.Read(b)
		return c.flood(func(int) []byte { return b })
	}},
	{Name: "a handshake of zeros", bare: true, run: func(c *conn) error {
		return c.flood(func(int) []byte { return make([]byte, 32<<10) })
	}},
	{Name: "a handshake for another torrent", bare: true, run: func(c *conn) error {
		c.InfoHash[0] ^= 1
		if err := c.put(c.hello()); err != nil {
			return err
		}
		return c.flood(func(int) []byte { return make([]byte, 32<<10) })
	}},
}
