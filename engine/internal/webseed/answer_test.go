package webseed

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func header(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		k, v, _ := strings.Cut(l, ": ")
		h.Add(k, v)
	}
	return h
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	part := Asked{Range: weir.Range{Off: 1 << 20, End: 2 << 20}, Length: 4 << 20}
	small := Asked{Range: weir.Range{Off: 100, End: 200}, Length: 1000}
	for _, tt := range []struct {
		name   string
		asked  Asked
		status int
		h      http.Header
		length int64
		want   Answer // without its reason
	}{
		{"Part", part, 206, header("Content-Range: bytes 1048576-2097151/4194304"), 1 << 20, Answer{Verdict: Take}},
		{"PartOfUnknown", part, 206, header("Content-Range: bytes 1048576-2097151/*"), -1, Answer{Verdict: Take}},
		{"PartInCapitals", part, 206, header("Content-Range: Bytes 1048576-2097151/4194304"), -1, Answer{Verdict: Take}},
		{"PartIdentity", part, 206, header("Content-Range: bytes 1048576-2097151/4194304", "Content-Encoding: identity"), -1, Answer{Verdict: Take}},
		{"PartOfAnother", part, 206, header("Content-Range: bytes 1048576-2097151/4194305"), -1, Answer{Verdict: Stale, Length: 4194305}},
		{"OtherPart", part, 206, header("Content-Range: bytes 0-1048575/4194304"), -1, Answer{Verdict: Malformed}},
		{"ShortPart", part, 206, header("Content-Range: bytes 1048576-2097150/4194304"), -1, Answer{Verdict: Malformed}},
		{"LongPart", part, 206, header("Content-Range: bytes 1048576-2097152/4194304"), -1, Answer{Verdict: Malformed}},
		{"NoContentRange", part, 206, header(), 1 << 20, Answer{Verdict: Malformed}},
		{"Multipart", part, 206, header("Content-Type: multipart/byteranges; boundary=x"), -1, Answer{Verdict: Malformed}},
		{"Gzip", part, 206, header("Content-Range: bytes 1048576-2097151/4194304", "Content-Encoding: gzip"), -1, Answer{Verdict: Malformed}},
		{"WholeLarge", part, 200, header(), 4 << 20, Answer{Verdict: NoRanges}},
		{"WholeLargeFromItsBeginning", Asked{weir.Range{End: 1 << 20}, 4 << 20}, 200, header(), 4 << 20, Answer{Verdict: Take, Whole: true}},
		{"WholeSmall", small, 200, header(), 1000, Answer{Verdict: Take, Skip: 100, Whole: true}},
		{"WholeChunked", small, 200, header(), -1, Answer{Verdict: Take, Skip: 100, Whole: true}},
		{"WholeOfAnother", small, 200, header(), 1001, Answer{Verdict: Stale, Length: 1001}},
		{"WholeGzip", small, 200, header("Content-Encoding: gzip"), 1000, Answer{Verdict: Malformed}},
		{"Moved", part, 301, header("Location: http://x/y"), 0, Answer{Verdict: Moved, Location: "http://x/y", Lasting: true}},
		{"Found", part, 302, header("Location: /y"), 0, Answer{Verdict: Moved, Location: "/y", Lasting: true}},
		{"MovedNowhere", part, 307, header(), 0, Answer{Verdict: Malformed}},
		{"Denied", part, 403, header(), 0, Answer{Verdict: Missing}},
		{"Unauthorized", part, 401, header(), 0, Answer{Verdict: Missing}},
		{"NotFound", part, 404, header(), 0, Answer{Verdict: Missing}},
		{"Gone", part, 410, header(), 0, Answer{Verdict: Missing}},
		{"Shorter", part, 416, header("Content-Range: bytes */1000"), 0, Answer{Verdict: Stale, Length: 1000}},
		{"NotSatisfiable", part, 416, header(), 0, Answer{Verdict: Missing}},
		{"TooMany", part, 429, header("Retry-After: 7"), 0, Answer{Verdict: WaitHost, Pause: 7 * time.Second}},
		{"Unavailable", part, 503, header("Retry-After: Fri, 02 Jan 2026 03:05:05 GMT"), 0, Answer{Verdict: WaitHost, Pause: time.Minute}},
		{"UnavailableNow", part, 503, header("Retry-After: Fri, 02 Jan 2026 03:00:00 GMT"), 0, Answer{Verdict: WaitHost}},
		{"UnavailableForEver", part, 503, header("Retry-After: 99999999999"), 0, Answer{Verdict: WaitHost, Pause: time.Hour}},
		{"UnavailableOdd", part, 503, header("Retry-After: soon"), 0, Answer{Verdict: WaitHost}},
		{"ServerError", part, 500, header(), 0, Answer{Verdict: FailFile}},
		{"BadGateway", part, 502, header("Retry-After: 3"), 0, Answer{Verdict: FailFile, Pause: 3 * time.Second}},
		{"Teapot", part, 418, header(), 0, Answer{Verdict: FailFile}},
		{"Nothing", part, 204, header(), 0, Answer{Verdict: FailFile}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Judge(tt.asked, tt.status, tt.h, tt.length, now)
			if (got.Reason == "") != (got.Verdict == Take || got.Verdict == Moved) {
				t.Errorf("reason %q", got.Reason)
			}
			if got.Reason = ""; got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes */10")
	f.Add("bytes 5-/10")
	f.Fuzz(func(t *testing.T, v string) {
		first, last, total, ok := parseContentRange(v)
		if ok && (first > last || total >= 0 && last >= total || first < -1 || total < -1) {
			t.Fatalf("%q: %d-%d/%d", v, first, last, total)
		}
	})
}
