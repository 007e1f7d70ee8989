package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// rawJSON decodes into value and keeps the text, so that --json passes on fields that this version does not know.
type rawJSON[T any] struct {
	value T
	text  json.RawMessage
}

// UnmarshalJSON keeps the text and decodes it.
func (r *rawJSON[T]) UnmarshalJSON(text []byte) error {
	r.text = append(json.RawMessage(nil), text...)
	return json.Unmarshal(text, &r.value)
}

// table prints rows under a header, in columns. Only the last column may carry colours: tabwriter counts them as text.
func (t *Terminal) table(header []string, rows [][]string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(header, "\t")) // a strings.Builder does not fail
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		last := len(cells) - 1
		cells[last] = t.state(cells[last])
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	return t.print(b.String())
}

// state colours the states of tokens; other text stays as it is.
func (t *Terminal) state(text string) string {
	switch text {
	case "live":
		return t.paint(green, text)
	case "inert", "paused":
		return t.paint(yellow, text)
	case "revoked", "expired":
		return t.paint(red, text)
	default:
		return text
	}
}

// details prints labelled values, leaving empty ones out.
func (t *Terminal) details(pairs [][2]string) error { return t.print(t.detailed(pairs)) }

func (t *Terminal) detailed(pairs [][2]string) string {
	width := 0
	for _, pair := range pairs {
		if pair[1] != "" {
			width = max(width, len(pair[0]))
		}
	}
	var b strings.Builder
	for _, pair := range pairs {
		if pair[1] != "" {
			b.WriteString(t.paint(faint, fmt.Sprintf("%-*s", width, pair[0])) + "  " + t.state(printable(pair[1])) + "\n")
		}
	}
	return b.String()
}

// listed joins names for people; none is a word.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// namesOf returns the name of each id, and the id itself where there is none.
func namesOf(ids []string, names map[string]string) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id
		if name := names[id]; name != "" {
			list[i] = name
		}
	}
	return list
}

// restriction says to which projects a token is limited.
func restriction(ids, names []string) string {
	if ids == nil {
		return "all that its user sees"
	}
	return listed(names)
}

// moment prints a time exactly and relatively: "2026-12-01 10:00 UTC (in 8 days)".
func moment(at, now time.Time) string {
	return at.UTC().Format("2006-01-02 15:04 MST") + " (" + relative(at, now) + ")"
}

// expiry prints when a token expires; never is a word, too.
func expiry(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return moment(*at, now)
}

// relativeOr prints a time relatively, and the given word for none.
func relativeOr(at *time.Time, now time.Time, none string) string {
	if at == nil {
		return none
	}
	return relative(*at, now)
}

// relative prints a time as people say it, in the largest unit that fits: "in 12 days", "3 hours ago". Time left is not
// rounded up by more than the minute in which a command runs: a token that works for 36 more hours does not have two days.
func relative(at, now time.Time) string {
	distance := at.Sub(now)
	words := func(amount string) string {
		if distance < 0 {
			return amount + " ago"
		}
		return "in " + amount
	}
	seconds := math.Abs(distance.Seconds())
	if distance > time.Hour {
		seconds += 59 // what was just given 30 days has them
	}
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"year", 365 * 86400}, {"day", 86400}, {"hour", 3600}, {"minute", 60}} {
		if n := int(seconds / unit.seconds); n > 0 {
			if n == 1 {
				return words("1 " + unit.name)
			}
			return words(fmt.Sprintf("%d %ss", n, unit.name))
		}
	}
	if distance < 0 {
		return "just now"
	}
	return "in less than a minute"
}
