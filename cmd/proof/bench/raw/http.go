package raw

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// HTTP reads the first size bytes of a file over as many connections as there are
// URLs of it, an equal share from each, and throws them away.
func HTTP(ctx context.Context, urls []string, size int64) error {
	t := &http.Transport{DisableCompression: true, DisableKeepAlives: true, ReadBufferSize: 256 << 10}
	defer t.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	for i, u := range urls {
		begin, end := size*int64(i)/int64(len(urls)), size*int64(i+1)/int64(len(urls))
		g.Go(func() error { return get(ctx, t, u, begin, end) })
	}
	return g.Wait()
}

func get(ctx context.Context, t http.RoundTripper, url string, begin, end int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", begin, end-1))
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 256<<10))
	if err == nil && n != end-begin {
		err = io.ErrUnexpectedEOF
	}
	return err
}
