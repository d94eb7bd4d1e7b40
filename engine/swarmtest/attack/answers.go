package attack

import "crypto/rand"

// ask is an extension handshake that gives ut_metadata the number 1.
const ask = "d1:md11:ut_metadatai1eee"

// answers are kinds that make the client answer, and do not read.
var answers = []Kind{
	{Name: "metadata requests", deaf: true, run: func(c *conn) error {
		if err := c.put(extended(0, ask)); err != nil {
			return err
		}
		m := extended(1, "d8:msg_typei0e5:piecei0ee")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "metadata requests out of range", deaf: true, run: func(c *conn) error {
		if err := c.put(extended(0, ask)); err != nil {
			return err
		}
		m := extended(1, "d8:msg_typei0e5:piecei99999999ee")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "hash requests", deaf: true, run: func(c *conn) error {
		return c.flood(func(i int) []byte { return c.hashRequest(c.Root, i%2*2) })
	}},
	{Name: "hash requests below the layer of pieces", deaf: true, run: func(c *conn) error {
		return c.flood(func(i int) []byte { return c.blockHashRequest(i) })
	}},
	{Name: "hash requests below the layer of pieces, answers read", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return c.blockHashRequest(i) })
	}},
	{Name: "hash requests of unknown roots", deaf: true, run: func(c *conn) error {
		return c.flood(func(int) []byte {
			var root [32]byte
			_, _ = rand.Read(root[:])
			return c.hashRequest(root, 0)
		})
	}},
	{Name: "requests while choked", deaf: true, run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(6, i%c.Pieces, 0, 16<<10) })
	}},
	{Name: "requests while choked, answers read", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return words(6, i%c.Pieces, 0, 16<<10) })
	}},
	{Name: "requests for all, none read", deaf: true, run: func(c *conn) error {
		if err := c.put(frame(2)); err != nil {
			return err
		}
		return c.flood(func(i int) []byte { return words(6, i%c.Pieces, 0, 16<<10) })
	}},
	{Name: "requests and cancels", deaf: true, run: func(c *conn) error {
		if err := c.put(frame(2)); err != nil {
			return err
		}
		return c.flood(func(i int) []byte { return words([]byte{6, 8}[i%2], i/2%c.Pieces, 0, 16<<10) })
	}},
}

// blockHashRequest asks for the hashes of two blocks, which are kept by nobody.
func (c *conn) blockHashRequest(i int) []byte {
	m := words(21, 0, i*2%(c.Pieces*c.PieceLength>>14), 2, 0)
	return frame(21, append(c.Root[:], m[5:]...)...)
}

// hashRequest asks for all hashes of the layer of pieces (BEP 52).
func (c *conn) hashRequest(root [32]byte, index int) []byte {
	layer := 0
	for n := 16 << 10; n < c.PieceLength; n *= 2 {
		layer++
	}
	m := words(21, layer, index, 2, 0)
	return frame(21, append(root[:], m[5:]...)...)
}
