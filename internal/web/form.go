package web

import (
	"crypto/rand"
	"net/url"
	"strings"

	"carnet/internal/problem"
)

// form is what a person typed and what is wrong with it, so that a page can show both again.
type form struct {
	Values url.Values
	Errors map[string]string // by the name of the input
	// Failure is what is wrong with the whole rather than with one input.
	Failure string
	// Nonce travels in a hidden input and becomes the idempotency key, so that sending a form twice does its work once.
	Nonce string
}

func newForm(values url.Values) form {
	if values == nil {
		values = url.Values{}
	}
	return form{Values: values, Errors: map[string]string{}, Nonce: rand.Text()}
}

// Value returns what was typed into an input.
func (f form) Value(name string) string { return f.Values.Get(name) }

// Has reports whether a checkbox or radio of that name and value is chosen.
func (f form) Has(name, value string) bool {
	for _, v := range f.Values[name] {
		if v == value {
			return true
		}
	}
	return false
}

// Error returns what is wrong with an input, "" when nothing is.
func (f form) Error(name string) string { return f.Errors[name] }

// mistake is what is wrong with a group of inputs, and their name.
type mistake struct{ Name, Text string }

// Mistake returns what is wrong with a group of inputs.
func (f form) Mistake(name string) mistake { return mistake{name, f.Errors[name]} }

// Wrong reports whether anything is.
func (f form) Wrong() bool { return len(f.Errors) > 0 || f.Failure != "" }

// refuse files a feature's refusal with the inputs that it is about. inputs maps the last part of a field's location to
// the input's name, where they differ.
func (f *form) refuse(e *problem.Error, inputs map[string]string) {
	for _, field := range e.Fields {
		name := field.Location
		if _, after, ok := strings.Cut(name, "."); ok {
			name = after
		}
		name, _, _ = strings.Cut(name, "[")
		name, _, _ = strings.Cut(name, ".")
		if to, ok := inputs[name]; ok {
			name = to
		}
		if _, taken := f.Errors[name]; !taken {
			f.Errors[name] = sentence(field.Message)
			if words, ok := nothingChosen[name]; ok && len(f.Values["reach"]) > 0 && f.chose(name) == 0 {
				f.Errors[name] = words
			}
		}
	}
	if len(e.Fields) == 0 {
		f.Failure = e.Detail
	}
}

// nothingChosen is what forms of tokens say where nothing was chosen, in place of what the API says.
var nothingChosen = map[string]string{
	"scopes":   "Choose at least one scope.",
	"projects": "Choose at least one project, or all that you can see.",
}

// chose returns how many scopes or projects were chosen.
func (f form) chose(name string) int {
	if name == "scopes" {
		return len(chosenScopes(f.Values).List())
	}
	return len(f.Values[name])
}

// sentence gives a message of the API the form that people expect beside an input.
func sentence(message string) string {
	if message == "" {
		return "This does not hold."
	}
	text := strings.ToUpper(message[:1]) + message[1:]
	if !strings.ContainsAny(text[len(text)-1:], ".!?") {
		text += "."
	}
	return text
}

// input is one labelled input as the templates draw it.
type input struct {
	Name, ID, Label, Type, Value, Help, Error string
	Autocomplete, Placeholder, Mode           string
	Required, Optional, Focus, Mono           bool
	Rows, Limit                               int
	Options                                   []option
}

// DescribedBy returns the ids of what explains the input, for aria-describedby.
func (i input) DescribedBy() string {
	var ids []string
	if i.Error != "" {
		ids = append(ids, i.ID+"-error")
	}
	if i.Help != "" {
		ids = append(ids, i.ID+"-help")
	}
	return strings.Join(ids, " ")
}

// option is one line of a select or one choice of a group.
type option struct {
	Value, Label, Note string
	Chosen, Disabled   bool
}
