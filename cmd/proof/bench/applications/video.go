package applications

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// filmBytes is the size of the film, about; filmPiece its piece length.
const (
	filmBytes = 385_000_000
	filmPiece = suite.MiB
)

// filmForm is a way to lay a film out.
type filmForm struct {
	name, extension string
	flags           []string // of the muxer
}

var (
	MoovLast  = filmForm{name: "moov-last", extension: ".mp4"}
	Faststart = filmForm{name: "faststart", extension: ".mp4", flags: []string{"-movflags", "+faststart"}}
	Matroska  = filmForm{name: "mkv", extension: ".mkv"}
)

// Video probes a film with ffprobe, and then has ffmpeg decode the frame at 80 %.
// Where they are not installed, what they read of such files is read instead.
// For comparison they do the same over HTTP, from one host.
func Video(form filmForm, probe, fetched float64, beside ...string) suite.Case {
	return suite.Case{
		Name: "video/" + form.name, About: "ffprobe of a film of 385 MB, and the frame at 80 %, 4 hosts × 5 MB/s, 50 ms",
		Systems: append([]string{suite.Weir}, beside...), Limit: 30 * time.Second,
		Figures: []suite.Figure{
			{Name: "probe", Unit: suite.Seconds, Bar: suite.Bar{Most: probe}},
			{Name: "fetched by the probe", Unit: suite.Bytes, Bar: suite.Bar{Most: fetched}},
			{Name: "frame at 80 %", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.5}},
			{Name: "fetched by the frame", Unit: suite.Bytes, Bar: suite.Bar{Most: 6e6}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			film, err := filmOf(r.Bench, form)
			if err != nil {
				return nil, err
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: film.spec, Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate5})
			if err != nil {
				return nil, err
			}
			if r.System == suite.HTTP {
				if !film.real {
					return nil, suite.Absent("ffmpeg is not installed")
				}
				return film.watch(r, sw.Wire.FileURL(0, film.spec.Name), nil)
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			return film.watch(r, p.Path(), func() (float64, error) { return r.Fetched(sw) })
		},
	}
}

// WebVideo does the same with a film that a web server alone has, beside ffprobe and
// ffmpeg on its URL.
func WebVideo(form filmForm) suite.Case {
	return suite.Case{
		Name: "web/video/" + form.name, About: "ffprobe of a film of 385 MB, and the frame at 80 %, a web seed of 20 MB/s alone, 50 ms",
		Systems: []string{suite.Weir, suite.HTTP}, Limit: 30 * time.Second,
		Figures: []suite.Figure{
			{Name: "probe", Unit: suite.Seconds, Reference: suite.HTTP, Bar: suite.Bar{MostOf: 1}},
			{Name: "fetched by the probe", Unit: suite.Bytes},
			{Name: "frame at 80 %", Unit: suite.Seconds, Reference: suite.HTTP, Bar: suite.Bar{MostOf: 1}},
			{Name: "fetched by the frame", Unit: suite.Bytes},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			film, err := filmOf(r.Bench, form)
			if err != nil {
				return nil, err
			}
			if !film.real {
				return nil, suite.Absent("ffmpeg is not installed")
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: film.spec, Web: "/", Delay: suite.HalfTrip, WebBytesPerSec: suite.Rate20})
			if err != nil {
				return nil, err
			}
			if r.System == suite.HTTP {
				return film.watch(r, sw.Web+film.spec.Name, nil)
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			return film.watch(r, p.Path(), func() (float64, error) {
				n, err := sw.Wire.Hosts().Web(r.Ctx)
				return float64(n.Bytes), err
			})
		},
	}
}

// film is something to watch.
type film struct {
	spec    remotehosts.Spec
	real    bool // made by ffmpeg, for ffmpeg
	form    filmForm
	seconds float64
}

// filmOf makes the film once.
func filmOf(b *suite.Bench, form filmForm) (film, error) {
	if _, err := exec.LookPath("ffprobe"); err != nil || b.Options.Quick {
		return film{form: form, spec: remotehosts.One("film-"+form.name, filmPiece, min(filmBytes, b.Gigabyte().Files[0].Length), 5)}, nil
	}
	dir := filepath.Join(b.Testbed.Data, "films")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return film{}, err
	}
	name := filepath.Join(dir, form.name+form.extension)
	if _, err := os.Stat(name); err != nil {
		if err := makeFilm(dir, name, form); err != nil {
			return film{}, err
		}
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", name).Output()
	if err != nil {
		return film{}, fmt.Errorf("ffprobe %s: %w", name, err)
	}
	f := film{form: form, real: true}
	if _, err := fmt.Sscan(string(out), &f.seconds); err != nil {
		return film{}, err
	}
	f.spec = remotehosts.Spec{Name: "film-" + form.name + form.extension, PieceBytes: filmPiece, Files: []remotehosts.File{{Disk: name}}}
	return f, nil
}

// makeFilm encodes a short clip of 2 Mbit/s and repeats it until it is long
// enough: a film of half an hour with an index as large as a real one's.
func makeFilm(dir, name string, form filmForm) error {
	clip := filepath.Join(dir, "clip.mkv")
	if _, err := os.Stat(clip); err != nil {
		if err := ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=12,noise=alls=12:allf=t", "-f", "lavfi", "-i", "sine=d=12",
			"-c:v", "mpeg4", "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M", "-g", "50", "-c:a", "aac", clip); err != nil {
			return err
		}
	}
	st, err := os.Stat(clip)
	if err != nil {
		return err
	}
	args := []string{"-stream_loop", fmt.Sprint(filmBytes/st.Size() - 1), "-i", clip, "-map", "0", "-c", "copy"}
	part := filepath.Join(dir, "part"+form.extension)
	if err := ffmpeg(append(append(args, form.flags...), part)...); err != nil {
		return err
	}
	return os.Rename(part, name)
}

func ffmpeg(args ...string) error {
	out, err := exec.Command("ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	return nil
}

// watch probes and seeks. fetched may be nil.
func (f film) watch(r *suite.Run, path string, fetched func() (float64, error)) (suite.Values, error) {
	v := suite.Values{}
	before := 0.0
	for _, step := range []struct {
		figure, bytes string
		do            func(ctx context.Context, path string) error
	}{
		{"probe", "fetched by the probe", f.probe},
		{"frame at 80 %", "fetched by the frame", f.frame},
	} {
		begin := time.Now()
		if err := step.do(r.Ctx, path); err != nil {
			return v, fmt.Errorf("%s: %w", step.figure, err)
		}
		v[step.figure] = time.Since(begin).Seconds()
		if fetched != nil {
			n, err := fetched()
			if err != nil {
				return v, err
			}
			v[step.bytes], before = n-before, n
		}
	}
	return v, nil
}

func (f film) probe(ctx context.Context, path string) error {
	if f.real {
		out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_format", "-show_streams", path).Output()
		if err == nil && len(out) == 0 {
			err = errors.New("it says nothing")
		}
		return err
	}
	// What ffprobe reads of an MP4: the head, then the index at the end where that is
	// not at the head, then the first frames.
	parts := [][2]float64{{0, 32 * suite.KiB}}
	if f.form.name == MoovLast.name {
		parts = append(parts, [2]float64{1 - 0.0025, 1e9})
	}
	return readParts(path, append(parts, [2]float64{0, 600 * suite.KiB})...)
}

func (f film) frame(ctx context.Context, path string) error {
	if f.real {
		cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-ss", fmt.Sprint(f.seconds*0.8), "-i", path, "-frames:v", "1", "-f", "null", "-")
		out, err := cmd.CombinedOutput()
		if err != nil || len(out) > 0 {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	}
	return readParts(path, [2]float64{0, 32 * suite.KiB}, [2]float64{0.8, 512 * suite.KiB})
}

// readParts reads from places, given as parts of the file, so many bytes each or
// to the end.
func readParts(path string, parts ...[2]float64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	for _, p := range parts {
		at := int64(p[0] * float64(st.Size()))
		b := make([]byte, min(int64(p[1]), st.Size()-at))
		if _, err := io.ReadFull(io.NewSectionReader(f, at, int64(len(b))), b); err != nil {
			return err
		}
	}
	return nil
}
