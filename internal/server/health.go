package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"carnet/internal/db"
	"carnet/internal/verify"
)

// readyTimeout bounds how long a load balancer waits for the truth.
const readyTimeout = 250 * time.Millisecond

// registerHealth adds /healthz, which says that the process answers, and /readyz, which says whether it can serve:
// whether ready returns nil.
func registerHealth(mux *http.ServeMux, ready func(context.Context) error) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			plain(w, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		plain(w, http.StatusOK, "ready\n")
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// Metrics are what an operator watches. No label holds a token, a user or an organization.
type Metrics struct {
	registry *prometheus.Registry
	answers  *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// NewMetrics returns the metrics of a process that verifies with the given counters over the store, and of others.
func NewMetrics(stats *verify.Stats, store *db.DB, others ...prometheus.Collector) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carnet_http_answers_total", Help: "Answers, by route pattern and status.",
		}, []string{"route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carnet_http_answer_seconds", Help: "Time to answer, by route pattern.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"route"}),
	}
	counter := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	m.registry.MustRegister(m.answers, m.took,
		counter("carnet_verify_cache_hits_total", "Verifications answered from the cache.", stats.Hits.Load),
		counter("carnet_verify_cache_misses_total", "Verifications that asked the store.", stats.Misses.Load),
		counter("carnet_verify_fills_discarded_total", "Grants read but not kept, because a change overtook them.", stats.Discarded.Load),
		counter("carnet_verify_cache_drops_total", "Times that the whole cache was forgotten on a doubt.", stats.Drops.Load),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(others...)
	s := store.Stats()
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(s.ReadSeconds,
		counter("carnet_epoch_waits_total", "Requests that waited to know whether the cache is exact.", s.Waits.Load),
		counter("carnet_epoch_read_failures_total", "Reads of the epoch that did not come back in time.", s.Failures.Load),
		counter("carnet_epoch_drops_total", "Times that a gap or another history made the node forget everything.", s.Drops.Load),
		counter("carnet_write_retries_total", "Writes that were begun again, after a conflict or a lost connection.", s.Retries.Load),
		gauge("carnet_epoch", "The epoch that the node last saw.", func() float64 { return float64(s.Epoch()) }),
		gauge("carnet_epoch_age_seconds", "How long ago the node last knew its cache to be exact.", func() float64 { return s.Age().Seconds() }),
		gauge("carnet_clock_skew_seconds", "By how much the node's clock is off the database's at least.", func() float64 { return s.Skew().Seconds() }))
	return m
}

// Observe counts an answer.
func (m *Metrics) Observe(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.answers.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// Handler serves the metrics in the Prometheus text format. It belongs on a listener that the public does not reach.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}
