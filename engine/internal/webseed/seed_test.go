package webseed

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// swarm is an owner that asks a seed for everything until it has it, as a picker
// would: what is rejected is asked for again while the seed has it.
type swarm struct {
	t      *testing.T
	info   *weir.TorrentInfo
	seed   *Seed
	events chan func()
	got    []byte
	have   map[weir.Range]bool
	asked  map[weir.Range]bool
	quit   chan struct{}
}

func (o *swarm) Run(fn func()) {
	select {
	case o.events <- fn:
	case <-o.quit:
	}
}

func (o *swarm) Buffer(n int) Buffer { return newMemory(n) }

func (o *swarm) Block(in weir.Range, data Buffer) {
	if !o.asked[in] || o.have[in] || int64(len(data.Bytes())) != in.Len() {
		o.t.Errorf("block %v, %d bytes, asked %v, held %v", in, len(data.Bytes()), o.asked[in], o.have[in])
	}
	copy(o.got[in.Off:], data.Bytes())
	data.Free()
	o.have[in] = true
	delete(o.asked, in)
}

func (o *swarm) Rejected(in weir.Range) {
	if !o.asked[in] {
		o.t.Errorf("%v is rejected and was not asked for", in)
	}
	delete(o.asked, in)
}

func (o *swarm) Changed() {}

func (o *swarm) Wait(int) {}

// open starts a seed of files at a server.
func open(t *testing.T, base string, info *weir.TorrentInfo) *swarm {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	o := &swarm{t: t, info: info, events: make(chan func(), 64), got: make([]byte, info.Length), have: map[weir.Range]bool{},
		asked: map[weir.Range]bool{}, quit: make(chan struct{})}
	o.seed = NewSeed(context.Background(), u, info, client(t), o)
	t.Cleanup(func() {
		o.seed.Close()
		close(o.quit)
		o.seed.Wait()
	})
	return o
}

// fetch asks for pieces until all blocks are here that the seed may have, or until
// enough is true.
func (o *swarm) fetch(pieces []int, enough func() bool) {
	o.t.Helper()
	end := time.After(60 * time.Second)
	for {
		missing := false
		for _, p := range pieces {
			if !o.seed.Site().Has(time.Now(), p) {
				continue
			}
			for _, b := range blocksOf(o.info, p, p+1) {
				if !o.have[b] {
					missing = true
					if !o.asked[b] {
						o.asked[b] = true
						o.seed.Ask(b)
					}
				}
			}
		}
		o.seed.Flush(time.Now())
		if !missing && len(o.asked) == 0 && (enough == nil || enough()) {
			return
		}
		select {
		case fn := <-o.events:
			fn()
		case <-time.After(20 * time.Millisecond): // a pause may be over
		case <-end:
			o.t.Fatalf("%d blocks are missing", len(o.asked))
		}
	}
}

func every(info *weir.TorrentInfo) []int {
	all := make([]int, info.NumPieces())
	for i := range all {
		all[i] = i
	}
	return all
}

// server is a scripted web server for the item's files.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	strange  map[string]func(w http.ResponseWriter, r *http.Request, file []byte) // by path
}

func newServer(t *testing.T, info *weir.TorrentInfo, data []byte) *server {
	t.Helper()
	s := &server{strange: map[string]func(http.ResponseWriter, *http.Request, []byte){}}
	files := map[string][]byte{}
	for i, f := range info.Files {
		if !f.Padding {
			u, _ := url.Parse("http://h/")
			files[Locate(u, info, i).EscapedPath()] = data[f.Offset:f.Range().End]
		}
	}
	s.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.URL.EscapedPath()+" "+strings.TrimPrefix(r.Header.Get("Range"), "bytes="))
		strange := s.strange[r.URL.EscapedPath()]
		s.mu.Unlock()
		file, ok := files[r.URL.EscapedPath()]
		switch {
		case strange != nil:
			strange(w, r, file)
		case !ok:
			http.NotFound(w, r)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}
	})
	return s
}

// paths returns how often each path was asked for.
func (s *server) paths() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, r := range s.requests {
		n[strings.Fields(r)[0]]++
	}
	return n
}

func itemData(info *weir.TorrentInfo) []byte {
	data := content(int(info.Length))
	for _, f := range info.Files {
		if f.Padding {
			clear(data[f.Offset:f.Range().End])
		}
	}
	return data
}

func TestSeedFetchesAll(t *testing.T) {
	info := large(300*kib, 10, -6*kib-10, 0, 500*kib+7, 40*kib)
	data := itemData(info)
	s := newServer(t, info, data)
	o := open(t, s.URL, info)
	o.fetch(every(info), nil)
	if !bytes.Equal(o.got, data) {
		t.Error("not the item")
	}
	for path := range s.paths() {
		if strings.HasSuffix(path, "/c") || strings.HasSuffix(path, "/d") {
			t.Errorf("asked for %s, which is padding or empty", path)
		}
	}
}

// An item as the Internet Archive's are: files at another node under another name,
// small ones sent whole, a busy server, one that is gone, one that has changed.
func TestSeedOfAnArchive(t *testing.T) {
	info := large(300*kib, -20*kib, 20*kib, -44*kib, 64*kib, 100, -64*kib+100, 3000, -64*kib+3000, 200*kib)
	data := itemData(info)
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/9/a%2B" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data[:300*kib]))
	})
	s := newServer(t, info, data)
	busy := 0
	s.strange["/item/a"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, node.URL+"/9/a%2B", http.StatusFound)
	}
	s.strange["/item/c"] = func(w http.ResponseWriter, r *http.Request, file []byte) { w.Write(file) } // whole
	s.strange["/item/e"] = func(w http.ResponseWriter, r *http.Request, file []byte) {
		if busy++; busy <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}
	s.strange["/item/f"] = func(w http.ResponseWriter, r *http.Request, file []byte) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(slices.Concat(file, []byte(" changed"))))
	}
	s.strange["/item/h"] = func(w http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(w, r) }
	o := open(t, s.URL+"/", info)
	o.fetch(every(info), func() bool { return busy > 2 && o.have[info.BlockRange(6, 0)] })
	for i, f := range info.Files {
		lost := i == 5 || i == 7
		if right := bytes.Equal(o.got[f.Offset:f.Range().End], data[f.Offset:f.Range().End]); right == lost {
			t.Errorf("file %c: right %v", 'a'+i, right)
		}
	}
	st := o.seed.Site().State(time.Now())
	if !slices.Equal(st.Stale, []int{5}) || !strings.Contains(st.Files[5], "108 bytes instead of 100") || !strings.Contains(st.Files[7], "404") || len(st.Files) != 2 {
		t.Errorf("state %+v", st)
	}
	if n := s.paths(); n["/item/a"] != 1 || n["/item/f"] != 1 || n["/item/h"] != 1 {
		t.Errorf("asked %v: a place that a redirect told is asked for once, as is what is gone", n)
	}
}

// A file that is no longer where a redirect has led is asked for at the seed itself, at once.
func TestSeedMovesAgain(t *testing.T) {
	for name, gone := range map[string]http.HandlerFunc{
		"Missing": http.NotFound,
		"Failing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"Dead":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			info := large(500 * kib)
			data := itemData(info)
			send := func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			}
			newer := serve(t, send)
			reads := 0
			old := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if reads++; reads > 1 {
					gone(w, r)
					return
				}
				send(w, r)
			})
			s := newServer(t, info, data)
			s.strange["/item/a"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
				at := old.URL
				if s.paths()["/item/a"] > 1 {
					at = newer.URL
				}
				http.Redirect(w, r, at+"/x", http.StatusFound)
			}
			o := open(t, s.URL+"/", info)
			o.fetch([]int{0}, nil)
			o.fetch(every(info), nil)
			if !bytes.Equal(o.got, data) || s.paths()["/item/a"] != 2 {
				t.Errorf("asked %v; right %v", s.paths(), bytes.Equal(o.got, data))
			}
			if st := o.seed.Site().State(time.Now()); len(st.Files) > 0 || !st.Paused.IsZero() {
				t.Errorf("state %+v", st)
			}
		})
	}
}
