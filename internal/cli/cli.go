// Package cli is the command line as a client: it signs people in, manages their tokens and calls the API, talking HTTP
// to a Carnet server like any other program, by the public contract and nothing else.
//
// Three habits hold for every command:
//
//   - Secrets come in by the terminal (without echo), standard input or the environment, never as an argument, which
//     other users of the machine could read; and they go out on standard output alone, one value, so that it can be
//     piped. What people read besides goes to standard error.
//   - What a server sends is escaped before it reaches a terminal, which would otherwise obey it.
//   - The exit code says what kind of answer it was, see [ExitDone] and the rest.
//
// The commands that run on the server's own machine (serve, admin) are not here; they share [Run], [Terminal] and the
// exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// Commands are the client's commands, to be embedded in the program's command line.
type Commands struct {
	Login   loginCommand   `cmd:"" group:"Client" help:"Sign in to a server and keep the session on this machine."`
	Logout  logoutCommand  `cmd:"" group:"Client" help:"End the session at the server and forget it. Tokens keep working."`
	Whoami  whoamiCommand  `cmd:"" group:"Client" help:"Show who the token or session acts as, and what it may do."`
	Token   tokenCommands  `cmd:"" group:"Client" help:"Create, list, narrow, rotate, revoke and identify your tokens."`
	API     apiCommand     `cmd:"" name:"api" group:"Client" help:"Call the API and print the answer."`
	Version versionCommand `cmd:"" group:"Client" help:"Show the version of this program."`
}

// The exit codes, the same for every command.
const (
	ExitDone     = 0
	ExitFailed   = 1 // no answer, or trouble on either side: trying again may help
	ExitUsage    = 2 // the command line itself was wrong: nothing was sent that could change anything
	ExitRefused  = 3 // the server understood and said no: role, scope, conflict, stale version, validation
	ExitSignIn   = 4 // the credential is missing, over or not of the kind that is needed
	ExitNotFound = 5 // absent, or outside of what the credential sees
)

const exitCodesHelp = `
Exit codes:
  0    done
  1    failed: no answer, or trouble at either end (5xx, 429); trying again may help
  2    wrong usage: flags, arguments or input
  3    refused: understood, and no (role, scope, conflict, stale version, validation)
  4    sign-in needed: no valid credential, or one of a kind that does not do here
  5    not found, or outside of what you can see
`

// Run parses args into commands, a pointer to a struct with kong's tags, runs the chosen command and returns the exit
// code. Errors are told to t.Err. The Run method of a command may take a [context.Context], which ends when the person
// interrupts, a *[Terminal] and whatever the options bind.
func Run(ctx context.Context, commands any, args []string, t *Terminal, options ...kong.Option) int {
	if slices.ContainsFunc(args, values.MatchString) {
		t.tell(&Failure{
			Exit:    ExitUsage,
			Message: "A token's value stands among the arguments, where every user of this machine can read it, and in your shell's history. Revoke it.",
			Hints:   []string{"Values come by CARNET_TOKEN or standard input only. To find which token it is: carnet token identify, with the value on standard input."},
		})
		return ExitUsage
	}
	if i := slices.IndexFunc(args, func(a string) bool { return !utf8.ValidString(a) }); i >= 0 {
		t.tell(&Failure{Exit: ExitUsage, Message: fmt.Sprintf("The argument %q is not text in UTF-8", args[i])})
		return ExitUsage
	}
	helped := false
	options = append([]kong.Option{
		kong.Name("carnet"),
		kong.Description("Access tokens for products with organizations and projects: the server, and its client."),
		kong.Writers(t.Out, t.Err),
		kong.Exit(func(int) { helped = true }),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
	}, options...)
	parser, err := kong.New(commands, options...)
	if err != nil {
		t.tell(fmt.Errorf("build the command line: %w", err))
		return ExitFailed
	}
	chosen, err := parser.Parse(args)
	if helped {
		return ExitDone
	}
	if err != nil {
		t.tell(usageOf(err))
		return ExitUsage
	}
	if err := chosen.Run(); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		t.tell(err)
		return ExitCode(err)
	}
	return ExitDone
}

func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return fmt.Errorf("print help: %w", err)
	}
	_, err := io.WriteString(ctx.Stdout, exitCodesHelp)
	return err
}

func usageOf(err error) error {
	command := "carnet"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		command = parse.Context.Selected().FullPath()
	}
	return &Failure{Exit: ExitUsage, Message: err.Error(), Hints: []string{"See " + command + " --help."}}
}
