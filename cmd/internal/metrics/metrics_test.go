package metrics_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirfs/weir/cmd/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func samples() []metrics.Sample {
	return []metrics.Sample{
		{Name: "things_total", Help: "Things.", Counter: true, Value: 7},
		{Name: "states", Help: "By state.", Label: "state", By: map[string]float64{"cold": 2, "stuck": 1}},
	}
}

func TestServe(t *testing.T) {
	s := metrics.New(metrics.Options{Addr: "127.0.0.1:0", Version: "1.2", Samples: samples, Pprof: true})
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	status, text := get("/metrics")
	for _, want := range []string{
		"# TYPE weir_things_total counter\nweir_things_total 7\n", `weir_states{state="cold"} 2`, `weir_states{state="stuck"} 1`,
		`weir_build_info{version="1.2"} 1`, "go_goroutines", "process_resident_memory_bytes",
	} {
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("/metrics: status %d, and it lacks %q", status, want)
		}
	}
	if status, text := get("/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(text, "goroutine profile") {
		t.Errorf("profile: status %d", status)
	}
	if status, text := get("/debug/pprof/cmdline"); status != 404 {
		t.Errorf("command line: status %d, %q", status, text)
	}
	if status, _ := get("/"); status != 404 {
		t.Errorf("/: status %d", status)
	}

	second := metrics.New(metrics.Options{Addr: s.Addr().String(), Samples: samples})
	if err := second.Open(); err == nil || !strings.Contains(err.Error(), "--metrics") {
		t.Errorf("open where somebody listens: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
