package control

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/weirfs/weir/cmd/internal/api"
)

// lines writes JSON values, one a line, and flushes each. It is safe for
// concurrent use.
type lines struct {
	mu  sync.Mutex
	w   http.ResponseWriter
	out *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lines{w: w, out: json.NewEncoder(w)}
	l.out.SetEscapeHTML(false)
	l.flush() // so that the client knows that we listen
	return l
}

func (l *lines) write(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Encode(v); err != nil {
		return err
	}
	l.flush()
	return nil
}

func (l *lines) flush() {
	if f, ok := l.w.(http.Flusher); ok {
		f.Flush()
	}
}

// fetch streams the progress of a fetch. The status is 200 once it has begun: what
// goes wrong later is in the last line.
func (s *Server) fetch(w http.ResponseWriter, r *http.Request) {
	path, err := pathOf(r, "path")
	if err != nil {
		writeError(w, err)
		return
	}
	var l *lines
	var last api.Progress
	err = s.opt.Mount.Fetch(r.Context(), path, func(p api.Progress) {
		if l == nil {
			l = newLines(w)
		}
		last = p
		_ = l.write(p) // a client that is gone ends the context
	})
	switch {
	case l == nil && err != nil:
		writeError(w, err)
		return
	case l == nil:
		l = newLines(w)
	}
	last.Done = err == nil
	if err != nil {
		last.Error, _ = api.ErrorOf(err)
	}
	_ = l.write(last)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	events := s.opt.Mount.Events(r.Context())
	l := newLines(w)
	for e := range events {
		if l.write(e) != nil {
			return // the request's context ends with the client, and with it the channel
		}
	}
}
