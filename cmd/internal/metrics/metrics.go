// Package metrics serves metrics for Prometheus (/metrics) and, if asked to, Go's profiles
// (/debug/pprof/), on a TCP address that the user names. Neither contains names of torrents or
// files. Requests with another Host than the server's names are refused (package hosts).
//
// What must not live here: anything that counts. The figures are collected on request.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weirfs/weir/cmd/internal/hosts"
)

// Sample is one value. Names and labels follow Prometheus' conventions.
type Sample struct {
	Name    string // without the prefix "weir_"
	Help    string
	Counter bool // it only grows; else it is a gauge
	Label   string
	By      map[string]float64 // by the label's value
	Value   float64            // where there is no label
}

// Options of a Server. Addr and Samples are required.
type Options struct {
	Addr    string // host:port
	Pprof   bool   // serve profiles too
	Version string
	Samples func() []Sample // safe for concurrent use
	Log     *slog.Logger    // nil: no log
}

// Server answers between Open and Close.
type Server struct {
	opt    Options
	http   *http.Server
	addr   net.Addr
	served chan struct{} // nil before Open
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weir_build_info", Help: "Always 1; the label has the version.", ConstLabels: prometheus.Labels{"version": o.Version},
	})
	build.Set(1)
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, collector{o.Samples},
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.Handle("GET /debug/pprof/cmdline", http.NotFoundHandler()) // it would show magnets and paths
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return &Server{opt: o, http: &http.Server{
		Handler: hosts.Of(o.Addr).Check(mux, "this is not the name of weir's metrics: use the address or the name that --metrics has"), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}
}

// Open listens and begins to answer.
func (s *Server) Open() error {
	l, err := net.Listen("tcp", s.opt.Addr)
	if err != nil {
		return fmt.Errorf("metrics on %s: %w: name another address with --metrics HOST:PORT", s.opt.Addr, err)
	}
	s.addr, s.served = l.Addr(), make(chan struct{})
	if tcp, ok := s.addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.opt.Log.Warn("metrics can be read by other machines", "address", s.addr)
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.opt.Log.Error("serving metrics has ended", "err", err)
		}
	}()
	return nil
}

// Addr returns where it listens, once Open has returned nil.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends it, with a second for answers that are under way. It may be called
// more than once, and without Open.
func (s *Server) Close() error {
	if s.served == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a profile takes half a minute
	}
	<-s.served
	return err
}

// collector turns samples into metrics. It describes none in advance, so that names and
// values are in one place.
type collector struct{ samples func() []Sample }

func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.samples() {
		kind := prometheus.GaugeValue
		if s.Counter {
			kind = prometheus.CounterValue
		}
		if s.Label == "" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc("weir_"+s.Name, s.Help, nil, nil), kind, s.Value)
			continue
		}
		desc := prometheus.NewDesc("weir_"+s.Name, s.Help, []string{s.Label}, nil)
		for label, v := range s.By {
			out <- prometheus.MustNewConstMetric(desc, kind, v, label)
		}
	}
}
