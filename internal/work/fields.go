package work

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// The limits of what people write, in characters.
const (
	NameLimit        = 100
	TitleLimit       = 200
	DescriptionLimit = 20_000
	CommentLimit     = 20_000
	SearchLimit      = 200
	// FilterLimit is how many values one filter can have.
	FilterLimit = 100
)

var keyForm = regexp.MustCompile(`^[A-Z][A-Z0-9]{1,9}$`)

// checker collects what is wrong with an input, so that all of it is reported at once.
type checker struct{ fields []problem.Field }

func (c *checker) add(location, message string) {
	c.fields = append(c.fields, problem.Field{Location: location, Message: message})
}

// err returns what was found as one error, nil when nothing was.
func (c *checker) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	return problem.InvalidFields(c.fields...)
}

// sent reports whether a field that cannot be null was sent with a value.
func (c *checker) sent(location string, v optional.Value[string]) bool {
	if v.Null {
		c.add(location, "must not be null")
	}
	return v.Set && !v.Null
}

func (c *checker) required(location string, v optional.Value[string]) {
	if !v.Set {
		c.add(location, "is required")
	}
}

func (c *checker) line(location string, v optional.Value[string], into *string, limit int) {
	if !c.sent(location, v) {
		return
	}
	value, wrong := text.Line(location, v.V, limit)
	if wrong != nil {
		c.fields = append(c.fields, *wrong)
		return
	}
	*into = value
}

func (c *checker) block(location string, v optional.Value[string], into *string, limit int) {
	if !c.sent(location, v) {
		return
	}
	value, wrong := text.Block(location, v.V, limit)
	if wrong != nil {
		c.fields = append(c.fields, *wrong)
		return
	}
	*into = value
}

func (c *checker) key(location string, v optional.Value[string], into *string) {
	if !c.sent(location, v) {
		return
	}
	if !keyForm.MatchString(v.V) {
		c.add(location, "must be 2 to 10 capital letters and digits, a letter first")
		return
	}
	*into = v.V
}

// word reads a field that takes one of a few words.
func word[T ~string](c *checker, location string, v optional.Value[string], into *T, words []T) {
	if !c.sent(location, v) {
		return
	}
	if !slices.Contains(words, T(v.V)) {
		c.add(location, oneOf(words))
		return
	}
	*into = T(v.V)
}

// words checks the values of a filter that takes some of a few words.
func words[T ~string](c *checker, location string, values []string, known []T) {
	c.few(location, values)
	for _, v := range values {
		if !slices.Contains(known, T(v)) {
			c.add(location, oneOf(known))
			return
		}
	}
}

// few refuses filters with more values than a query should have.
func (c *checker) few(location string, values []string) {
	if len(values) > FilterLimit {
		c.add(location, fmt.Sprintf("must have at most %d values", FilterLimit))
	}
}

func oneOf[T ~string](words []T) string {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	return "must be one of " + strings.Join(names, ", ")
}

// date checks a day of the calendar.
func (c *checker) date(location, value string) {
	day, err := time.Parse(time.DateOnly, value)
	if err != nil || day.Year() < 1 {
		c.add(location, "must be a date that exists, as YYYY-MM-DD")
	}
}
