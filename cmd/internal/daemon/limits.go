package daemon

import (
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

// limits are the current limits of rates.
type limits struct {
	engine *engine.Engine

	mu               sync.Mutex
	upload, download int64
}

// Limits implements control.Mount.
func (l *limits) Limits() api.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return api.Limits{UploadRate: l.upload, DownloadRate: l.download}
}

// SetLimits implements control.Mount.
func (l *limits) SetLimits(change api.LimitsChange) (api.Limits, error) {
	for _, v := range []*int64{change.UploadRate, change.DownloadRate} {
		if v != nil && *v < 0 {
			return api.Limits{}, weir.Errorf(weir.ErrInvalid, "a rate of %d: want bytes per second, 0 for no limit", *v)
		}
	}
	l.mu.Lock()
	if change.UploadRate != nil {
		l.upload = *change.UploadRate
	}
	if change.DownloadRate != nil {
		l.download = *change.DownloadRate
	}
	l.engine.SetLimits(l.upload, l.download)
	l.mu.Unlock()
	return l.Limits(), nil
}
