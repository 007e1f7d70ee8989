package web

import (
	"fmt"
	"strconv"
	"time"
)

// callChart is calls by day as bars, in the units of its view box.
type callChart struct {
	Width, Height int
	Days          []callBar
	Total, Most   int
	First, Last   string
	Label         string
	Table         []callBar // days with calls, latest first

}

// callBar is one day.
type callBar struct {
	Day                 string
	Calls               int
	X, Y, Width, Height string
}

// newCallChart draws the days up to and including today. calls is by day, as YYYY-MM-DD in UTC.
func newCallChart(calls map[string]int, now time.Time, days int) callChart {
	c := callChart{Width: 960, Height: 120}
	step := float64(c.Width) / float64(days)
	today := now.UTC().Truncate(24 * time.Hour)
	for i := range days {
		n := calls[today.AddDate(0, 0, i-days+1).Format(time.DateOnly)]
		c.Total += n
		c.Most = max(c.Most, n)
	}
	for i := range days {
		day := today.AddDate(0, 0, i-days+1)
		n := calls[day.Format(time.DateOnly)]
		height := 2.0 // a day without calls keeps a trace, so that the days can be counted
		if n > 0 {
			height = max(5, float64(c.Height)*float64(n)/float64(c.Most))
		}
		bar := callBar{
			Day: day.Format("2 Jan 2006"), Calls: n,
			X: number(float64(i)*step + 1.5), Y: number(float64(c.Height) - height), Width: number(step - 3), Height: number(height),
		}
		c.Days = append(c.Days, bar)
		if n > 0 {
			c.Table = append([]callBar{bar}, c.Table...)
		}
	}
	c.First, c.Last = c.Days[0].Day, c.Days[len(c.Days)-1].Day
	c.Label = fmt.Sprintf("Calls by day from %s to %s: %s in all, at most %d in a day.", c.First, c.Last, plural(c.Total, "call"), c.Most)
	return c
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }
