package weir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/weirfs/weir"
)

func TestErrorText(t *testing.T) {
	_, number := strconv.Atoi("many")
	_, truth := strconv.ParseBool("maybe")
	file := &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}
	there, here := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 80}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}
	network := func(op string, from net.Addr, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Source: from, Addr: there, Err: err}
	}
	lookup := func(why string, timeout bool) error {
		return &net.DNSError{Err: why, Name: "x.example", Server: "192.0.2.53:53", IsTimeout: timeout}
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Alone":        {context.DeadlineExceeded, "no answer in time"},
		"Wrapped":      {fmt.Errorf("ask %s: %w", "x", context.DeadlineExceeded), "ask x: no answer in time"},
		"WrappedTwice": {fmt.Errorf("a: %w", fmt.Errorf("b: %w", context.Canceled)), "a: b: interrupted"},
		"InTheMiddle":  {fmt.Errorf("a: %w; try again", io.ErrUnexpectedEOF), "a: it ended too early; try again"},
		"Joined":       {errors.Join(fmt.Errorf("a: %w", io.EOF), errors.New("b"), fmt.Errorf("c: %w", io.EOF)), "a: it ended too early\nb\nc: it ended too early"},
		"Several":      {fmt.Errorf("%w, then %w", context.Canceled, io.EOF), "interrupted, then it ended too early"},
		"Number":       {fmt.Errorf("--count: %w", number), `--count: want a number, got "many"`},
		"Truth":        {truth, `want a number, got "maybe"`},
		"Kind":         {weir.ErrNotFound, "no such torrent or file"},
		"KindAtTheEnd": {fmt.Errorf("remove x: %w", weir.ErrNotFound), "remove x: no such torrent or file"},
		"KindNotShown": {weir.Errorf(weir.ErrInvalid, "piece %d: %w", 3, io.EOF), "piece 3: it ended too early"},
		"Hidden":       {weir.Errorf(weir.ErrInvalid, "EOF of %q", "x"), `EOF of "x"`},
		"Named":        {fmt.Errorf("file %q: %w", "context canceled", context.Canceled), `file "context canceled": interrupted`},
		"System":       {file, "open x: no such file or directory"},
		"WrapsNothing": {wrapsNothing{}, "says itself"},
		"Refused":      {fmt.Errorf("fetch x: %w", network("dial", nil, os.NewSyscallError("connect", syscall.ECONNREFUSED))), "fetch x: can't connect to 192.0.2.7:80: connection refused"},
		"Timeout":      {network("dial", nil, os.ErrDeadlineExceeded), "can't connect to 192.0.2.7:80: no answer in time"},
		"Listen":       {network("listen", nil, os.NewSyscallError("bind", syscall.EADDRINUSE)), "can't listen at 192.0.2.7:80: address already in use"},
		"Reset":        {network("read", here, os.NewSyscallError("read", syscall.ECONNRESET)), "connection with 192.0.2.7:80: connection reset by peer"},
		"Lookup":       {&net.OpError{Op: "dial", Net: "tcp", Err: lookup("no such host", false)}, "can't find the host x.example: there is no such name"},
		"LookupAlone":  {fmt.Errorf("tracker x: %w", lookup("no such host", false)), "tracker x: can't find the host x.example: there is no such name"},
		"LookupURL":    {&url.Error{Op: "Get", URL: "http://x/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: lookup("server misbehaving", false)}}, "Get \"http://x/\": can't find the host x.example: the name server failed"},
		"LookupLate":   {lookup("read udp 192.0.2.1:5->192.0.2.53:53: i/o timeout", true), "can't find the host x.example: no answer in time"},
		"LookupOther":  {lookup("Temporary failure in name resolution", false), "can't find the host x.example: Temporary failure in name resolution"},
		"URL":          {&url.Error{Op: "Get", URL: "http://x/", Err: network("dial", nil, os.NewSyscallError("connect", syscall.ECONNREFUSED))}, "Get \"http://x/\": can't connect to 192.0.2.7:80: connection refused"},
		"NotInTheText": {invisible{}, "something went wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := weir.ErrorText(c.err); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

type wrapsNothing struct{}

func (wrapsNothing) Error() string { return "says itself" }
func (wrapsNothing) Unwrap() error { return nil }

// invisible wraps an error that its text does not have.
type invisible struct{}

func (invisible) Error() string { return "something went wrong" }
func (invisible) Unwrap() error { return context.Canceled }
