package webseed

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirfs/weir"
)

// maxSkip is how many bytes before the asked ones may be read and thrown away of a
// server that sends a file from its beginning: some, the Internet Archive's among
// them, do so with small files. Of a large file they are no bargain.
const maxSkip = 256 << 10

// Verdict says what an answer is good for.
type Verdict uint8

// The verdicts. Of all but Take the body is not read.
const (
	Take      Verdict = iota // the body has the bytes
	Moved                    // they are at Answer.Location
	Missing                  // the server does not have the file, or not for us
	Stale                    // the server has another version of the file
	NoRanges                 // it can't send these bytes without many others
	WaitHost                 // the whole host asks for a pause
	FailFile                 // something is wrong with this file for now
	Malformed                // it is no answer to what was asked
)

// Asked is what a request asked for.
type Asked struct {
	Range  weir.Range // bytes of the file, not empty
	Length int64      // of the whole file, by the torrent
}

// Answer is what became of a request, by the head of its response.
type Answer struct {
	Verdict  Verdict
	Skip     int64         // Take: bytes of the body before the first that was asked for
	Whole    bool          // Take: the body should end with the file; it is longer if the server has another version
	Location string        // Moved
	Lasting  bool          // Moved: the new place may be remembered
	Pause    time.Duration // WaitHost: how long the server wants to be left alone, 0 if it doesn't say
	Length   int64         // Stale: of the server's version, -1 if unknown
	Reason   string        // for people, of all but Take and Moved
}

// Judge reads the head of a response. now is for dates in Retry-After. It is pure.
func Judge(asked Asked, status int, h http.Header, contentLength int64, now time.Time) Answer {
	switch status {
	case http.StatusPartialContent:
		return judgePart(asked, h)
	case http.StatusOK:
		return judgeWhole(asked, h, contentLength)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if to := h.Get("Location"); to != "" {
			return Answer{Verdict: Moved, Location: to, Lasting: status != http.StatusSeeOther}
		}
		return Answer{Verdict: Malformed, Reason: "a redirect to nowhere"}
	case http.StatusUnauthorized, http.StatusForbidden:
		return Answer{Verdict: Missing, Reason: statusText(status)}
	case http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return Answer{Verdict: Missing, Reason: statusText(status)}
	case http.StatusRequestedRangeNotSatisfiable:
		if _, _, total, ok := parseContentRange(h.Get("Content-Range")); ok && total >= 0 && total != asked.Length {
			return stale(asked, total)
		}
		return Answer{Verdict: Missing, Reason: statusText(status)}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return Answer{Verdict: WaitHost, Pause: retryAfter(h.Get("Retry-After"), now), Reason: statusText(status)}
	}
	return Answer{Verdict: FailFile, Pause: retryAfter(h.Get("Retry-After"), now), Reason: statusText(status)}
}

// judgePart is for a 206: exactly the range, or nothing.
func judgePart(asked Asked, h http.Header) Answer {
	if a, coded := judgeCoding(h); coded {
		return a
	}
	v := h.Get("Content-Range")
	first, last, total, ok := parseContentRange(v)
	switch {
	case !ok || first < 0:
		return Answer{Verdict: Malformed, Reason: fmt.Sprintf("a part with the Content-Range %.64q", v)}
	case total >= 0 && total != asked.Length:
		return stale(asked, total)
	case first != asked.Range.Off || last != asked.Range.End-1:
		return Answer{Verdict: Malformed, Reason: fmt.Sprintf("bytes %d-%d instead of %d-%d", first, last, asked.Range.Off, asked.Range.End-1)}
	}
	return Answer{Verdict: Take}
}

// judgeWhole is for a 200: the file from its beginning.
func judgeWhole(asked Asked, h http.Header, contentLength int64) Answer {
	if a, coded := judgeCoding(h); coded {
		return a
	}
	switch {
	case contentLength >= 0 && contentLength != asked.Length:
		return stale(asked, contentLength)
	case asked.Range.Off > maxSkip:
		return Answer{Verdict: NoRanges, Reason: "the server sends this file from its beginning only"}
	}
	return Answer{Verdict: Take, Skip: asked.Range.Off, Whole: true}
}

func judgeCoding(h http.Header) (Answer, bool) {
	if c := h.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return Answer{Verdict: Malformed, Reason: fmt.Sprintf("a body encoded with %.32q, which was not asked for", c)}, true
	}
	return Answer{}, false
}

func stale(asked Asked, length int64) Answer {
	return Answer{Verdict: Stale, Length: length, Reason: fmt.Sprintf("the server has another version: %d bytes instead of %d", length, asked.Length)}
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprintf("status %d", status)
}

// parseContentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110, 14.4). first and last
// are -1 where the header has '*' for them, total likewise.
func parseContentRange(v string) (first, last, total int64, ok bool) {
	unit, rest, found := strings.Cut(strings.TrimSpace(v), " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	span, size, found := strings.Cut(strings.TrimSpace(rest), "/")
	if !found {
		return 0, 0, 0, false
	}
	first, last, total = -1, -1, -1
	if size != "*" {
		if total, ok = parseLength(size); !ok {
			return 0, 0, 0, false
		}
	}
	if span == "*" {
		return first, last, total, true
	}
	from, to, found := strings.Cut(span, "-")
	if !found {
		return 0, 0, 0, false
	}
	f, okFirst := parseLength(from)
	l, okLast := parseLength(to)
	if !okFirst || !okLast || f > l || total >= 0 && l >= total {
		return 0, 0, 0, false
	}
	return f, l, total, true
}

func parseLength(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// maxPause bounds what a server may ask for.
const maxPause = time.Hour

// retryAfter reads the header: seconds or a date. 0 says that it says nothing.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if n, ok := parseLength(v); ok {
		return time.Duration(min(n, int64(maxPause/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), maxPause)
	}
	return 0
}
