package attack

// squatters are kinds that send little and then nothing, to use up connections or the
// client's time.
var squatters = []Kind{
	{Name: "a handshake and silence", run: func(*conn) error { return nil }},
	{Name: "claims everything, and no unchoke", run: func(c *conn) error { return c.put(frame(14)) }},
	{Name: "claims everything, an unchoke, and no block", run: func(c *conn) error { return c.put(append(frame(14), frame(1)...)) }},
	{Name: "wants everything and asks for nothing", run: func(c *conn) error { return c.put(frame(2)) }},
	{Name: "addresses of nobody by peer exchange", run: tellNonsense},
}
