package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/control"
)

// changes are the calls that take something.
var changes = []string{
	"POST /v1/torrents", "PATCH /v1/limits", "DELETE /v1/torrents/x", "POST /v1/move", "POST /v1/pin", "POST /v1/unpin", "POST /v1/evict", "POST /v1/fetch",
	"GET /v1/status", "GET /v1/torrents/x", "PUT /v1/torrents", "POST /v1/",
}

// FuzzRequest: whatever is sent, the answer is JSON, a mistake is called one and
// changes nothing, and what is done is what the request says.
func FuzzRequest(f *testing.F) {
	for i := range changes {
		f.Add(uint8(i), "path=a%2Fb&from=x&to=y", "application/json", []byte(`{"source":"magnet:?x"}`))
		f.Add(uint8(i), "path=", "", []byte(`{"upload_rate":1,"download_rate":-1}`))
		f.Add(uint8(i), "keep_cache=perhaps&into=../..", api.TorrentType, []byte("d4:infode"))
	}
	f.Add(uint8(0), "", "", []byte(`{"source":"a"} {"source":"b"}`))
	f.Add(uint8(0), "", "", []byte(`{"source":"a","Source":"b","x":1}`))
	f.Add(uint8(1), "%zz", "", []byte(`{"upload_rate":1e99}`))
	f.Fuzz(func(t *testing.T, call uint8, query, contentType string, body []byte) {
		method, path, _ := strings.Cut(changes[int(call)%len(changes)], " ")
		m := &fakeMount{}
		handler := control.New(control.Options{Socket: "unused", Mount: m}).Handler()
		req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(string(body)))
		req.URL.RawQuery = query
		req.Header.Set("Content-Type", contentType)
		values := req.URL.Query()
		if values.Get("path") == "forever" {
			return // the fake's own word for a fetch that does not end
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		for line := range strings.Lines(w.Body.String()) {
			if !json.Valid([]byte(line)) {
				t.Fatalf("%s %s?%s: answers %q", method, path, query, line)
			}
		}
		if w.Code != http.StatusOK {
			var answer struct{ Error *api.Error }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Error == nil || answer.Error.Message == "" {
				t.Fatalf("status %d without a reason: %q", w.Code, w.Body)
			}
			if w.Code >= 500 {
				t.Errorf("the mistake is said to be weir's: %s", w.Body)
			}
			if len(m.asked) > 0 || m.limits != (api.Limits{}) {
				t.Errorf("status %d, and yet done: %q, %+v", w.Code, m.asked, m.limits)
			}
			return
		}
		switch asked := slices.Concat(m.asked, []string{""})[0]; {
		case strings.HasPrefix(asked, "add file "):
			if contentType != api.TorrentType {
				t.Errorf("%q is taken for a .torrent", contentType)
			}
		case strings.HasPrefix(asked, "add "), method == http.MethodPatch:
			if !json.Valid(body) {
				t.Errorf("done by a body that is no JSON: %q: %q", body, m.asked)
			}
		case method == http.MethodPost:
			if !values.Has("path") && !(values.Has("from") && values.Has("to")) {
				t.Errorf("%s?%s: done without a path: %q", path, query, m.asked)
			}
		}
		if _, err := url.ParseQuery(query); err != nil {
			t.Errorf("done although the query is broken (%v): %q", err, m.asked)
		}
	})
}
