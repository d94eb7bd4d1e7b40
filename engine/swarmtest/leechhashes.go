package swarmtest

import "context"

// Hashes sends a hash request (BEP 52) and returns the answer: the hashes of the
// base layer, then those of the proof, as they came. The error is ErrRejected when
// the peer rejects it. A leech asks for the same hashes once at a time.
func (l *Leech) Hashes(ctx context.Context, r HashRequest) ([][32]byte, error) {
	l.mu.Lock()
	delete(l.hashes, r)
	l.mu.Unlock()
	if err := l.send(appendHashes(nil, msgHashRequest, r, nil)); err != nil {
		return nil, err
	}
	var hashes [][32]byte
	err := l.Wait(ctx, func() (ok bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		hashes, ok = l.hashes[r]
		return ok
	})
	if err == nil && hashes == nil {
		err = ErrRejected
	}
	return hashes, err
}

// handleHashes keeps the answer to a hash request; l.mu is held.
func (l *Leech) handleHashes(id byte, body []byte) error {
	r, err := parseHashRequest(body)
	if err != nil {
		return err
	}
	body = body[hashRequestBytes:]
	if len(body)%32 != 0 || (id == msgHashReject) != (len(body) == 0) {
		return errLeechMessage
	}
	var hashes [][32]byte
	for ; len(body) > 0; body = body[32:] {
		hashes = append(hashes, [32]byte(body))
	}
	if l.hashes == nil {
		l.hashes = map[HashRequest][][32]byte{}
	}
	l.hashes[r] = hashes
	return nil
}
