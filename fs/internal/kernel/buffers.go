package kernel

import "sync"

// readBytes is the largest read request that bazil and the kernel agree on.
const readBytes = 128 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}

// takeBuffer returns a buffer of at least n bytes for a read that waits.
func takeBuffer(n int) *[]byte {
	if n > readBytes {
		b := make([]byte, n)
		return &b
	}
	return buffers.Get().(*[]byte)
}

func giveBuffer(b *[]byte) {
	if len(*b) == readBytes {
		buffers.Put(b)
	}
}
