package bench_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// full says whether this run measures, at full size, or only checks that everything answers.
var full = os.Getenv("CARNET_SOAK") != ""

// of picks a size.
func of[T any](short, long T) T {
	if full {
		return long
	}
	return short
}

// report collects what was measured, and is printed as one table at the end.
var report struct {
	mu   sync.Mutex
	rows []string
}

// note adds a row: what was measured, the bar ("" for none), the figure, and whether the bar holds.
func note(what, bar, figure string, holds ...bool) {
	report.mu.Lock()
	defer report.mu.Unlock()
	verdict := ""
	if len(holds) > 0 {
		verdict = "no"
		if !slices.Contains(holds, false) {
			verdict = "yes"
		}
	}
	row := fmt.Sprintf("| %s | %s | %s | %s |", what, figure, bar, verdict)
	report.rows = append(report.rows, row)
	if full && testing.Verbose() {
		fmt.Println(row) // a run takes long, and may be cut short
	}
}

func TestMain(m *testing.M) {
	for variable, serve := range map[string]func(string){bareVariable: serveBare, delayVariable: serveDelayed, uncachedVariable: serveUncached} {
		if job := os.Getenv(variable); job != "" {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin) // which ends with whoever started this, however that ends
				os.Exit(1)
			}()
			serve(job)
			return
		}
	}
	code := m.Run()
	if full && len(report.rows) > 0 {
		fmt.Printf("\n%s, %d cores, %s, load %s\n\n| What | Figure | Bar | Holds |\n|---|---|---|---|\n%s\n\n",
			processor(), runtime.NumCPU(), runtime.Version(), loadAverage(), strings.Join(report.rows, "\n"))
	}
	os.Exit(code)
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// median returns the middle of the values.
func median[T int | int64 | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// short prints a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

// count prints a number with its thousands apart.
func count[T int | int64 | float64](n T) string {
	digits := fmt.Sprintf("%.0f", float64(n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
