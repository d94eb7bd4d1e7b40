package catalogue

import (
	"math"
	"time"

	"github.com/weirfs/weir"
)

// Sharing is what is set for one torrent of giving it to others. nil and zero is what the
// mount says.
type Sharing struct {
	Seed     string         `json:"seed,omitempty"` // "all" or "none"
	Ratio    *float64       `json:"ratio,omitempty"`
	SeedTime *time.Duration `json:"seed_time,omitempty"` // 0: no end
	// UploadRate and DownloadRate bound this torrent, in bytes per second; 0: no bound but
	// the mount's.
	UploadRate   int64 `json:"upload_rate,omitempty"`
	DownloadRate int64 `json:"download_rate,omitempty"`
}

// Check returns an error that wraps weir.ErrInvalid for what can't be meant.
func (s *Sharing) Check() error {
	switch {
	case s.Seed != "" && s.Seed != "all" && s.Seed != "none":
		return weir.Errorf(weir.ErrInvalid, "seed=%q: want all, none or default", s.Seed)
	case s.Ratio != nil && (math.IsNaN(*s.Ratio) || *s.Ratio < 0 || *s.Ratio > 1e9):
		return weir.Errorf(weir.ErrInvalid, "a ratio of %v: want a number such as 1.5, 0 for no end", *s.Ratio)
	case s.SeedTime != nil && *s.SeedTime < 0:
		return weir.Errorf(weir.ErrInvalid, "a seed time of %v: want a time such as 72h, 0 for no end", *s.SeedTime)
	case s.UploadRate < 0 || s.DownloadRate < 0:
		return weir.Errorf(weir.ErrInvalid, "a negative rate: want bytes per second, 0 for no limit")
	}
	return nil
}
