package control

import "net/http"

// Handler answers requests without a socket.
func (s *Server) Handler() http.Handler { return s.http.Handler }
