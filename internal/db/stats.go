package db

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats counts what keeping caches exact costs a node over PostgreSQL. On an embedded store all of it stays 0.
type Stats struct {
	Waits    atomic.Int64 // requests that waited for a read of the epoch
	Failures atomic.Int64 // reads of the epoch that did not come back in time
	Drops    atomic.Int64 // times that everything cached was forgotten
	Retries  atomic.Int64 // writes that were begun again, after a conflict or a lost connection
	// ReadSeconds has how long reads of the epoch took.
	ReadSeconds prometheus.Histogram

	epoch, seen, skew, reads atomic.Int64
}

func (s *Stats) init() {
	s.ReadSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "carnet_epoch_read_seconds", Help: "Time that a read of the epoch takes.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .2},
	})
}

func (s *Stats) saw(e Epoch) {
	s.epoch.Store(e.Value)
	s.seen.Store(time.Now().UnixMicro())
}

// Epoch returns the value of the epoch that the node last saw.
func (s *Stats) Epoch() int64 { return s.epoch.Load() }

// Reads returns how many reads of the epoch came back.
func (s *Stats) Reads() int64 { return s.reads.Load() }

// Age returns how long ago the node last knew its caches to be exact.
func (s *Stats) Age() time.Duration {
	if s.seen.Load() == 0 {
		return 0 // an embedded store, which needs no looking
	}
	return time.Since(Time(s.seen.Load()))
}

// Skew returns by how much the node's clock is off the database's at least.
func (s *Stats) Skew() time.Duration { return time.Duration(s.skew.Load()) }
