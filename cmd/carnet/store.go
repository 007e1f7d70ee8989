package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"carnet/internal/admin"
	"carnet/internal/cli"
	"carnet/internal/db"
	"carnet/internal/transfer"
)

// backupCommand writes the store into a file.
type backupCommand struct {
	Data     string `default:"./carnet-data" env:"CARNET_DATA" help:"Folder of the embedded store."`
	To       string `required:"" placeholder:"FILE" help:"File to write. It must not exist."`
	Database string `hidden:"" env:"CARNET_DATABASE"`
	JSON     bool   `name:"json" help:"Print one JSON document."`
}

// Help is shown by backup --help.
func (backupCommand) Help() string {
	return "Writes the whole store, as it is at one moment, into one file of mode 0600, and reads it back before it says that it is done. Where a server runs on the folder, it does the work and goes on serving."
}

// Run has the server write the backup, or writes it where none runs.
func (c backupCommand) Run(ctx context.Context, t *cli.Terminal) error {
	if c.Database != "" {
		return transfer.OnPostgres()
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return fmt.Errorf("find %s: %w", c.To, err)
	}
	begun := t.Now()
	written, err := c.write(ctx, to)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t, written)
	}
	_, err = fmt.Fprintf(t.Out, "Wrote %s: %s, %s, %s, schema %d. It was read back whole. %s.\n",
		written.File, size(written.Bytes), counted(written.Users, "account"), counted(written.Tokens, "token"), written.Schema, t.Now().Sub(begun).Round(10*time.Millisecond))
	return err
}

func (c backupCommand) write(ctx context.Context, to string) (written transfer.Written, err error) {
	input, err := json.Marshal(admin.Backup{To: to})
	if err != nil {
		return written, fmt.Errorf("write the command: %w", err)
	}
	answer, err := admin.Call(ctx, c.Data, admin.Request{Command: "backup", Input: input})
	if errors.Is(err, admin.ErrNoServer) {
		return c.direct(ctx, to)
	}
	if err != nil {
		return written, err
	}
	if err := json.Unmarshal(answer, &written); err != nil {
		return written, fmt.Errorf("read the server's answer: %w", err)
	}
	return written, sees(written)
}

// sees makes sure that what the server wrote is where its operator looks for it: a service may have a /tmp of its own.
func sees(written transfer.Written) error {
	info, err := os.Stat(written.File)
	if err != nil || info.Size() != written.Bytes {
		return &cli.Failure{
			Exit: cli.ExitFailed, Message: "The server wrote " + written.File + ", but there is no such file here",
			Hints: []string{"It may see other folders than you do (PrivateTmp in its unit). Give --to a folder that both see."},
		}
	}
	return nil
}

// direct writes the backup without a server. The folder is taken meanwhile.
func (c backupCommand) direct(ctx context.Context, to string) (transfer.Written, error) {
	if _, err := os.Stat(filepath.Join(c.Data, db.FileName)); err != nil {
		return transfer.Backup(ctx, c.Data, to) // which says what is missing
	}
	folder, err := db.Claim(c.Data)
	if errors.Is(err, db.ErrInUse) {
		return transfer.Written{}, fmt.Errorf("%w. It does not answer commands either; it may be starting or stopping", err)
	}
	if err != nil {
		return transfer.Written{}, err
	}
	written, err := transfer.Backup(ctx, c.Data, to)
	return written, errors.Join(err, folder.Release())
}

// restoreCommand puts a backup in the place of the store.
type restoreCommand struct {
	Data     string `default:"./carnet-data" env:"CARNET_DATA" help:"Folder of the embedded store."`
	From     string `required:"" placeholder:"FILE" help:"The backup."`
	Trust    bool   `name:"trust-tokens" xor:"tokens" help:"Let tokens work as the backup has them, where nobody can tell which were revoked since."`
	Revoke   bool   `name:"revoke-all-tokens" xor:"tokens" help:"Revoke every token of the backup."`
	Database string `hidden:"" env:"CARNET_DATABASE"`
	JSON     bool   `name:"json" help:"Print one JSON document."`
}

// Help is shown by restore --help.
func (restoreCommand) Help() string {
	return "Checks the backup, takes over from the store that it replaces whatever was revoked, ended, narrowed or taken away since, and puts it in its place. Where that store is gone or damaged, sessions and mailed codes are void and tokens rest until you decide about them. The replaced store is kept beside. No server may run on the folder."
}

// Run restores the backup.
func (c restoreCommand) Run(ctx context.Context, t *cli.Terminal) error {
	if c.Database != "" {
		return transfer.OnPostgres()
	}
	decision := transfer.Undecided
	switch {
	case c.Trust:
		decision = transfer.Trust
	case c.Revoke:
		decision = transfer.RevokeAll
	}
	done, err := transfer.Restore(ctx, c.Data, c.From, decision, t.Now())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t, done)
	}
	_, err = fmt.Fprint(t.Out, c.tell(done))
	return err
}

// tell says what state everything is in and what to do next.
func (c restoreCommand) tell(done transfer.Restored) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Restored %s into %s.\n", done.From, c.Data)
	if done.Kept != "" {
		fmt.Fprintf(&b, "The store that was there is kept as %s.\n", done.Kept)
	}
	if done.Merged {
		b.WriteString("\nWhat ended since the backup was taken over from it:\n")
	} else {
		fmt.Fprintf(&b, "\nWhat ended since the backup is not known, because %s. So:\n", done.Why)
	}
	if len(done.Changes) == 0 {
		b.WriteString("  nothing\n")
	}
	for _, change := range done.Changes {
		fmt.Fprintf(&b, "  %7d  %s\n", change.Count, change.What)
	}
	fmt.Fprintf(&b, "\nTokens now: %d work, %d rest, %d ended.\n", done.Tokens.Working, done.Tokens.Resting, done.Tokens.Ended)
	b.WriteString(c.next(done))
	return b.String()
}

// shownSlugs is how many organizations people are told by name.
const shownSlugs = 20

func (restoreCommand) next(done transfer.Restored) string {
	var b strings.Builder
	if done.Tokens.Resting > 0 {
		b.WriteString("Resting tokens are refused as token_inert. Decide about them, now or while the server runs:\n" +
			"  carnet admin trust-tokens        lets them work again\n" +
			"  carnet admin revoke-all-tokens   ends them for good\n")
	}
	if !done.Merged {
		b.WriteString("Passwords, roles and memberships are those of the backup: take back what was taken back since.\n")
	}
	if lost := done.Ownerless; len(lost) > 0 {
		b.WriteString("These organizations lost their only owner. Make others, with carnet admin add-member or set-role:\n")
		for _, slug := range lost[:min(len(lost), shownSlugs)] {
			b.WriteString("  " + slug + "\n")
		}
		if more := len(lost) - shownSlugs; more > 0 {
			fmt.Fprintf(&b, "  and %d more, which --json lists\n", more)
		}
	}
	b.WriteString("Start the server when you are ready.\n")
	return b.String()
}

type storeCommands struct {
	Copy storeCopy `cmd:"" help:"Copy the embedded store into an empty PostgreSQL database."`
}

type storeCopy struct {
	From string `required:"" env:"CARNET_DATA" placeholder:"DIR" help:"Data folder to copy from. No server may run on it."`
	To   string `required:"" env:"CARNET_DATABASE" placeholder:"URL" help:"Empty PostgreSQL database to copy into: postgres://carnet@host/carnet. Put a password into the variable, not here."`
	JSON bool   `name:"json" help:"Print one JSON document."`
}

// Help is shown by store copy --help.
func (storeCopy) Help() string {
	return "Copies everything in one transaction, reads every table back from both sides and compares them, and only then commits: the database holds everything or nothing. Ids, tokens and sessions stay the same. The folder is not changed, except that its schema is brought up to date first, as at any start."
}

// Run copies the store.
func (c storeCopy) Run(ctx context.Context, t *cli.Terminal) error {
	begun := t.Now()
	bar := &progressBar{out: t.Err, redrawn: onScreen(t.Err), quiet: c.JSON && !onScreen(t.Err)}
	done, err := transfer.Copy(ctx, c.From, c.To, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t, done)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %10s  %s\n", "TABLE", "ROWS", "SHA-256, THE SAME ON BOTH SIDES")
	for _, table := range done.Tables {
		fmt.Fprintf(&b, "%-20s %10d  %s\n", table.Name, table.Rows, table.SHA256)
	}
	fmt.Fprintf(&b, "\nCopied %s from %s to %s in %s.\n", counted(done.Rows, "row"), done.From, done.To, t.Now().Sub(begun).Round(100*time.Millisecond))
	b.WriteString("Serve from the database now, with --database. The folder is not served any more: keep it as a backup, or remove it.\n")
	_, err = fmt.Fprint(t.Out, b.String())
	return err
}

// progressBar shows how far a copy is: on a terminal in one line that is drawn again, elsewhere in a line for each table.
type progressBar struct {
	out     interface{ Write([]byte) (int, error) }
	redrawn bool
	quiet   bool
	step    string
}

const barWidth = 30

func (p *progressBar) show(step string, done, total int64) {
	switch {
	case p.quiet:
	case p.redrawn:
		share := 1.0
		if total > 0 {
			share = float64(done) / float64(total)
		}
		full := int(share * barWidth)
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %3.0f %%  %d of %d  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), share*100, done, total, step)
	case step != p.step:
		_, _ = fmt.Fprintf(p.out, "%s (%d of %d)\n", step, done, total)
	}
	p.step = step
}

func (p *progressBar) end() {
	if p.redrawn && p.step != "" {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func onScreen(out any) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func printJSON(t *cli.Terminal, v any) error {
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(t.Out, string(encoded))
	}
	return err
}

func counted(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.0f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}
