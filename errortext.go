package weir

import (
	"context"
	"io"
	"strconv"
	"strings"
)

// plainWords are what people read for errors that Go words for programmers. The
// sentinels of this package stand here as they read when nothing else is said.
var plainWords = []struct {
	err   error
	words string
}{
	{context.DeadlineExceeded, "no answer in time"},
	{context.Canceled, "interrupted"},
	{io.ErrUnexpectedEOF, "it ended too early"},
	{io.EOF, "it ended too early"},
	{io.ErrClosedPipe, "the other side has gone"},
	{ErrInvalid, "not valid"},
	{ErrNotFound, "no such torrent or file"},
	{ErrExists, "it is there already"},
	{ErrClosed, "weir is ending"},
	{ErrCorrupt, "the content is damaged"},
	{ErrInUse, "something else uses it"},
	{ErrNoSpace, "no space left"},
	{ErrRefused, "not allowed"},
}

// ErrorText returns what an error says, in words for people: it is err.Error(), with
// Go's own errors in it, wherever they are wrapped, put plainly. Whatever shows an
// error to somebody calls it: standard error, the log, the API, weir status.
func ErrorText(err error) string {
	var this any = err // and not what it wraps, which is looked at by itself
	for _, p := range plainWords {
		if this == any(p.err) {
			return p.words
		}
	}
	text := err.Error()
	switch e := this.(type) {
	case *strconv.NumError:
		return "want a number, got " + strconv.Quote(e.Num)
	case networkError:
		if words, ok := lookupText(text, e.Timeout()); ok {
			return words
		}
		if words, ok := networkText(text, e.Unwrap()); ok {
			return words
		}
		return reworded(text, e.Unwrap())
	case interface{ Unwrap() error }:
		return reworded(text, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			text = reworded(text, inner)
		}
	}
	return text
}

// networkError is what *net.OpError is, among others; this package imports no net.
type networkError interface {
	Unwrap() error
	Timeout() bool
	Temporary() bool
}

// lookupWords are what people read for what Go says of a host whose name is looked up.
var lookupWords = map[string]string{
	"no such host":              "there is no such name",
	"server misbehaving":        "the name server failed",
	"no answer from DNS server": "the name server did not answer",
}

// lookupText returns plain words for a text such as "dial tcp: lookup x.example on
// 192.0.2.53:53: no such host"; ok is false for any other text.
func lookupText(text string, timeout bool) (words string, ok bool) {
	if before, rest, found := strings.Cut(text, ": lookup "); found && len(strings.Fields(before)) == 2 { // of *net.OpError
		text = "lookup " + rest
	}
	rest, found := strings.CutPrefix(text, "lookup ")
	host, why, _ := strings.Cut(rest, ": ")
	host, _, _ = strings.Cut(host, " on ")
	if !found || host == "" || why == "" {
		return "", false
	}
	if timeout {
		why = plainWords[0].words
	} else if known, ok := lookupWords[why]; ok {
		why = known
	}
	return "can't find the host " + host + ": " + why, true
}

// networkText returns plain words for a text such as "dial tcp 192.0.2.7:80: connect:
// connection refused", in which inner says what comes after the address; ok is false
// for any other text.
func networkText(text string, inner error) (words string, ok bool) {
	if inner == nil {
		return "", false
	}
	before, found := strings.CutSuffix(text, ": "+inner.Error())
	parts := strings.Fields(before) // what was tried, the network, the address
	if !found || len(parts) != 3 {
		return "", false
	}
	addr := parts[2][strings.LastIndexByte(parts[2], '>')+1:] // of "ours->theirs"
	switch parts[0] {
	case "dial":
		words = "can't connect to " + addr
	case "listen":
		words = "can't listen at " + addr
	case "read", "write":
		words = "connection with " + addr
	default:
		return "", false
	}
	why := ErrorText(inner)
	if e, is := inner.(interface{ Timeout() bool }); is && e.Timeout() {
		why = plainWords[0].words
	} else if e, is := inner.(interface{ Unwrap() error }); is && e.Unwrap() != nil {
		why = ErrorText(e.Unwrap()) // without the name of the system call
	}
	return words + ": " + why, true
}

// reworded returns a text with what inner says in it put plainly.
func reworded(text string, inner error) string {
	if inner == nil {
		return text
	}
	said, plain := inner.Error(), ErrorText(inner)
	if at := strings.LastIndex(text, said); at >= 0 && said != plain && said != "" {
		return text[:at] + plain + text[at+len(said):]
	}
	return text
}
