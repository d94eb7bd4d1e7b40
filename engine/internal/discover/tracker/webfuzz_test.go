package tracker

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// answersRaw is a web server that gives the same bytes to everybody.
type answersRaw struct {
	answer []byte

	mu     sync.Mutex
	dialed []string
}

func (s *answersRaw) dial(_ context.Context, address string) (net.Conn, error) {
	s.mu.Lock()
	s.dialed = append(s.dialed, address)
	s.mu.Unlock()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
			_, _ = theirs.Write(s.answer) // whoever asked may be gone
		}
	}()
	return pipeAt{ours, address}, nil
}

// pipeAt is a connection that says where it leads.
type pipeAt struct {
	net.Conn
	address string
}

func (p pipeAt) RemoteAddr() net.Addr {
	at, _ := netip.ParseAddrPort(p.address)
	return net.TCPAddrFromAddrPort(at)
}

// FuzzWebAnswer: whatever a server on the internet answers to an announce or a scrape,
// head and body, the request ends in time, nothing inside is asked, and what is made
// of the answer is within its bounds.
func FuzzWebAnswer(f *testing.F) {
	ok := "HTTP/1.1 200 OK\r\n\r\n"
	for _, s := range []string{
		ok + "d8:completei5e8:intervali1800e5:peers6:abcdefe",
		ok + "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:incompletei2eeee",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nd5:pe\r\n0\r\n\r\n",
		"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999999999\r\nContent-Length: 2\r\n\r\nno",
		"HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/admin\r\n\r\n",
		"HTTP/1.1 307 Moved\r\nLocation: http://[::ffff:10.0.0.1]/announce\r\n\r\n",
		"HTTP/1.1 301 Moved\r\nLocation: //198.51.100.2/announce?x\r\nSet-Cookie: a=b\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999999999\r\n\r\n\x1f\x8b",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "SSH-2.0\r\n", "",
		ok + "d14:failure reason9:go\x1b[2Jaway8:retry in5:nevere",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := &answersRaw{answer: answer}
			ts := New("weir/test", netrule.Rule{}, nil)
			ts.dial = s.dial
			ts.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no such name") }
			begin := time.Now()
			a, err := ts.Announce(t.Context(), "http://198.51.100.1/announce", testRequest)
			if err == nil {
				checkAnswer(t, a)
				if len(a.TrackerID) > maxReasonBytes || strings.ContainsAny(a.Warning, "\x1b\n\x00") {
					t.Fatalf("%+v", a)
				}
			} else if strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Fatalf("the error has a terminal's commands: %q", err)
			}
			counts, err := ts.Scrape(t.Context(), "http://198.51.100.1/announce", []weir.InfoHash{{1}, {2}})
			if err == nil && len(counts) != 2 {
				t.Fatalf("%d counts for two torrents", len(counts))
			}
			if took := time.Since(begin); took > 2*Timeout {
				t.Errorf("took %v", took)
			}
			for _, at := range s.dialed {
				if to, err := netip.ParseAddrPort(at); err == nil && netrule.Inside(to.Addr()) != "" {
					t.Fatalf("%s is dialed: %v", at, s.dialed)
				}
			}
			if len(s.dialed) > 2*6 {
				t.Fatalf("%d hops: %v", len(s.dialed), s.dialed)
			}
		})
	})
}
