package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/source"
)

// handler answers a request with what it returns, as JSON, or with an error.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

// routes is the table of the API; each entry is in docs/api.md.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /{$}":                 s.server,
		"GET /torrents":            s.torrents,
		"POST /torrents":           s.add,
		"GET /torrents/{id...}":    s.torrent,
		"PATCH /torrents/{id...}":  s.setSharing,
		"DELETE /torrents/{id...}": s.remove,
		"POST /serve":              s.serveFiles,
		"POST /move":               s.move,
		"GET /handles":             s.handles,
		"GET /waits":               s.waits,
		"GET /status":              s.status,
		"GET /limits":              s.limits,
		"PATCH /limits":            s.setLimits,
		"POST /pin":                s.pin,
		"POST /unpin":              s.unpin,
		"POST /evict":              s.evict,
	} {
		handle(mux, pattern, h)
	}
	if s.opt.Cache != nil {
		handle(mux, "GET /cache", s.cacheStat)
		handle(mux, "POST /cache/limit", s.cacheResize)
		handle(mux, "POST /cache/clear", s.cacheClear)
		mux.HandleFunc("POST "+api.Prefix+"/cache/verify", s.cacheVerify)
	}
	mux.HandleFunc("POST "+api.Prefix+"/fetch", s.fetch)
	mux.HandleFunc("GET "+api.Prefix+"/events", s.events)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, weir.Errorf(weir.ErrNotFound, "%s %s is not of this API: see docs/api.md", r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A parameter that can't be parsed must not be dropped: another path would be used.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			writeError(w, weir.Errorf(weir.ErrInvalid, "query of the request: %v", err))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// handle adds a handler for a pattern, METHOD /PATH without the version.
func handle(mux *http.ServeMux, pattern string, h handler) {
	var method, path string
	_, _ = fmt.Sscan(pattern, &method, &path)
	mux.HandleFunc(method+" "+api.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
		out, err := h(w, r)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
}

func writeJSON(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(out) // the client has gone
}

func writeError(w http.ResponseWriter, err error) {
	e, status := api.ErrorOf(err)
	writeJSON(w, status, map[string]*api.Error{"error": e})
}

// readJSON reads a request's body, a single value. Unknown fields are an error: they are
// probably typing mistakes, and must not be ignored.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	return readJSONUpTo(w, r, maxBodyBytes, into)
}

func readJSONUpTo(w http.ResponseWriter, r *http.Request, bytes int64, into any) error {
	d := json.NewDecoder(limitBody(w, r, bytes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return weir.Errorf(weir.ErrInvalid, "body of the request: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return weir.Errorf(weir.ErrInvalid, "body of the request: something follows its JSON: send one object")
	}
	return nil
}

func (s *Server) server(http.ResponseWriter, *http.Request) (any, error) {
	return s.opt.Mount.Server(), nil
}

func (s *Server) torrents(http.ResponseWriter, *http.Request) (any, error) {
	return api.Torrents{Torrents: orEmpty(s.opt.Mount.Torrents())}, nil
}

func (s *Server) torrent(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.opt.Mount.Torrent(r.PathValue("id"))
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) (any, error) {
	if r.Header.Get("Content-Type") == api.TorrentType {
		content, err := io.ReadAll(limitBody(w, r, source.MaxMetainfoBytes))
		if err != nil {
			return nil, weir.Errorf(weir.ErrInvalid, "read the .torrent: %v", err)
		}
		return s.opt.Mount.AddFile(r.Context(), content, r.URL.Query().Get("into"))
	}
	var req api.AddRequest
	if err := readJSON(w, r, &req); err != nil {
		return nil, err
	}
	return s.opt.Mount.Add(r.Context(), req.Source, r.URL.Query().Get("into"))
}

func (s *Server) serveFiles(w http.ResponseWriter, r *http.Request) (any, error) {
	var req api.ServeRequest
	// A .torrent in base64, and a bit for each of its pieces.
	if err := readJSONUpTo(w, r, 2*source.MaxMetainfoBytes, &req); err != nil {
		return nil, err
	}
	return s.opt.Mount.Serve(r.Context(), r.URL.Query().Get("files"), req, r.URL.Query().Get("into"))
}

func (s *Server) setSharing(w http.ResponseWriter, r *http.Request) (any, error) {
	var change api.SharingChange
	if err := readJSON(w, r, &change); err != nil {
		return nil, err
	}
	return s.opt.Mount.SetSharing(r.PathValue("id"), change)
}

func (s *Server) remove(_ http.ResponseWriter, r *http.Request) (any, error) {
	keep := false
	if v := r.URL.Query().Get("keep_cache"); v != "" {
		var err error
		if keep, err = strconv.ParseBool(v); err != nil {
			return nil, weir.Errorf(weir.ErrInvalid, "keep_cache=%q: want true or false", v)
		}
	}
	return struct{}{}, s.opt.Mount.Remove(r.Context(), r.PathValue("id"), keep)
}

func (s *Server) move(_ http.ResponseWriter, r *http.Request) (any, error) {
	from, err := pathOf(r, "from")
	if err != nil {
		return nil, err
	}
	to, err := pathOf(r, "to")
	if err != nil {
		return nil, err
	}
	path, err := s.opt.Mount.Move(r.Context(), from, to)
	return api.Moved{Path: path}, err
}

func (s *Server) handles(http.ResponseWriter, *http.Request) (any, error) {
	return api.Handles{Handles: orEmpty(s.opt.Mount.Handles())}, nil
}

func (s *Server) waits(http.ResponseWriter, *http.Request) (any, error) {
	return api.Waits{Waits: orEmpty(s.opt.Mount.Waits())}, nil
}

func (s *Server) status(_ http.ResponseWriter, r *http.Request) (any, error) {
	path, err := pathOf(r, "path")
	if err != nil {
		return nil, err
	}
	return s.opt.Mount.Status(r.Context(), path)
}

func (s *Server) limits(http.ResponseWriter, *http.Request) (any, error) {
	return s.opt.Mount.Limits(), nil
}

func (s *Server) setLimits(w http.ResponseWriter, r *http.Request) (any, error) {
	var change api.LimitsChange
	if err := readJSON(w, r, &change); err != nil {
		return nil, err
	}
	return s.opt.Mount.SetLimits(change)
}

func (s *Server) pin(_ http.ResponseWriter, r *http.Request) (any, error) {
	path, err := pathOf(r, "path")
	if err != nil {
		return nil, err
	}
	return s.opt.Mount.Pin(r.Context(), path)
}

func (s *Server) unpin(_ http.ResponseWriter, r *http.Request) (any, error) {
	return changePath(r, s.opt.Mount.Unpin)
}

func (s *Server) evict(_ http.ResponseWriter, r *http.Request) (any, error) {
	return changePath(r, s.opt.Mount.Evict)
}

func changePath(r *http.Request, do func(ctx context.Context, path string) (int64, error)) (any, error) {
	path, err := pathOf(r, "path")
	if err != nil {
		return nil, err
	}
	n, err := do(r.Context(), path)
	return api.Kept{Bytes: n}, err
}

// pathOf returns a path of the query. It may be empty, for the root, but must be given.
func pathOf(r *http.Request, key string) (string, error) {
	q := r.URL.Query()
	if !q.Has(key) {
		return "", weir.Errorf(weir.ErrInvalid, "no %s=PATH in the query", key)
	}
	return strings.Trim(q.Get(key), "/"), nil
}

// orEmpty makes an empty list [] and not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
