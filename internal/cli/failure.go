package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"carnet/internal/problem"
)

// Failure is an error that a command reports: a sentence for people, hints on what to do, and the exit code.
type Failure struct {
	Exit    int
	Message string
	Hints   []string

	cause error
}

// Usage returns a [Failure] for a command line that cannot be carried out as it stands.
func Usage(format string, args ...any) error {
	return &Failure{Exit: ExitUsage, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message and the cause.
func (f *Failure) Error() string {
	if f.cause != nil {
		return f.Message + ": " + f.cause.Error()
	}
	return f.Message
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }

// refusal is an answer of the server that is not a success.
type refusal struct {
	Status   int
	Document problem.Document // zero but for what the answer carried
	Accepted string           // the Carnet-Accepted-Scopes header
	Hints    []string
}

// Error returns what the server says, for people.
func (r *refusal) Error() string {
	if r.Document.Detail == "" {
		return fmt.Sprintf("the server answered %d %s", r.Status, http.StatusText(r.Status))
	}
	return fmt.Sprintf("%s (%s)", r.Document.Detail, r.Document.Code)
}

func (r *refusal) lines() []string {
	var lines []string
	for _, field := range r.Document.Errors {
		lines = append(lines, field.Location+": "+field.Message)
	}
	if r.Accepted != "" {
		lines = append(lines, "Any of these scopes would do: "+r.Accepted)
	}
	lines = append(lines, r.Hints...)
	if r.Document.RequestID != "" && r.Status >= http.StatusInternalServerError {
		lines = append(lines, "Request id: "+r.Document.RequestID)
	}
	return lines
}

// isRefusal reports whether err is an answer of the server with the code, and returns it.
func isRefusal(err error, code problem.Code) (*refusal, bool) {
	var r *refusal
	if errors.As(err, &r) && r.Document.Code == code {
		return r, true
	}
	return nil, false
}

// ExitCode returns the exit code for the error of a command: of a [Failure], of an answer of the server, or of a
// [problem.Error] from a feature that ran in this process. Other errors are [ExitFailed].
func ExitCode(err error) int {
	var failure *Failure
	var answer *refusal
	var domain *problem.Error
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &failure):
		return failure.Exit
	case errors.As(err, &answer):
		return exitCodeOf(answer.Status, answer.Document.Code)
	case errors.As(err, &domain):
		return exitCodeOf(domain.Code.Status(), domain.Code)
	default:
		return ExitFailed
	}
}

func exitCodeOf(status int, code problem.Code) int {
	switch {
	case status == http.StatusUnauthorized, code == problem.SignInRequired, code == problem.ReauthenticationNeeded:
		return ExitSignIn
	case status == http.StatusNotFound:
		return ExitNotFound
	case status == http.StatusTooManyRequests, status < 400, status >= 500:
		return ExitFailed
	default:
		return ExitRefused
	}
}

// tell writes an error to standard error, escaped, and without any credential that slipped into it: people paste values
// where they do not belong, and error texts end up in logs.
func (t *Terminal) tell(err error) {
	message, lines := err.Error(), []string(nil)
	var failure *Failure
	var answer *refusal
	var domain *problem.Error
	switch {
	case errors.As(err, &failure):
		lines = failure.Hints
	case errors.As(err, &answer):
		lines = answer.lines()
	case errors.As(err, &domain):
		message = fmt.Sprintf("%s (%s)", domain.Detail, domain.Code)
		for _, field := range domain.Fields {
			lines = append(lines, field.Location+": "+field.Message)
		}
	}
	var b strings.Builder
	b.WriteString(t.paint(red, "carnet:") + " " + printable(redact(message)) + "\n")
	for _, line := range lines {
		b.WriteString("  " + printable(redact(line)) + "\n")
	}
	_, _ = fmt.Fprint(t.Err, b.String())
}
