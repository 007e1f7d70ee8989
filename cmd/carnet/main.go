// Command carnet is the access-token server for products with organizations and projects, and its command line.
//
// This package parses the command line, wires the rooms together and runs; it decides nothing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"carnet/internal/cli"
)

// version is stamped in by the Makefile.
var version string

// commandLine is every command of the program.
type commandLine struct {
	cli.Commands
	Serve serveCommand  `cmd:"" group:"Server" help:"Run the server."`
	Admin adminCommands `cmd:"" group:"Server" help:"Commands for whoever owns the machine, server running or not."`

	Backup  backupCommand  `cmd:"" group:"Server" help:"Write the embedded store into one file, server running or not."`
	Restore restoreCommand `cmd:"" group:"Server" help:"Put a backup in the place of the embedded store, server stopped."`
	Store   storeCommands  `cmd:"" group:"Server" help:"Move a store from the data folder to PostgreSQL."`
}

func main() { os.Exit(run()) }

func run() int {
	// The first interrupt asks the command to stop, the second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, &commandLine{}, os.Args[1:], cli.NewTerminal(cli.Version(version)))
}
