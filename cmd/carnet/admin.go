package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carnet/internal/admin"
	"carnet/internal/cli"
	"carnet/internal/db"
	"carnet/internal/house"
	"carnet/internal/problem"
)

// adminCommands are for whoever owns the machine. They work whether or not the server runs.
type adminCommands struct {
	CreateUser   createUser   `cmd:"" help:"Create an account. The password is one line on standard input."`
	CreateOrg    createOrg    `cmd:"" help:"Create an organization with its owner."`
	AddMember    addMember    `cmd:"" help:"Make a person a member of an organization."`
	SetRole      setRole      `cmd:"" help:"Change what a member is."`
	RemoveMember removeMember `cmd:"" help:"Take a member out of an organization. Their tokens there rest."`
	SuspendUser  suspendUser  `cmd:"" help:"Close an account: its sessions end, its tokens rest."`
	RestoreUser  restoreUser  `cmd:"" help:"Open a suspended account again. Its tokens work again."`
	SetPlan      setPlan      `cmd:"" help:"Change an organization's plan."`
	TrustTokens  trustTokens  `cmd:"" help:"Let all tokens work again that rest since a backup was restored."`
	RevokeAll    revokeAll    `cmd:"" name:"revoke-all-tokens" help:"Revoke all tokens, of everybody or of one organization."`

	Data     string `default:"./carnet-data" env:"CARNET_DATA" help:"Folder of the embedded store."`
	Database string `env:"CARNET_DATABASE" placeholder:"URL" help:"PostgreSQL database, in place of the embedded store."`
	JSON     bool   `name:"json" help:"Print one JSON document."`
}

type createUser struct {
	Email    string `required:"" placeholder:"E" help:"E-mail address."`
	Name     string `required:"" placeholder:"N" help:"Name, as others see it."`
	Verified bool   `help:"Take the address as verified."`
}

// Run creates the account.
func (c createUser) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	password, err := bufio.NewReader(t.In).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && password != "") {
		return cli.Usage("The password is missing: give it as one line on standard input.")
	}
	in := admin.User{Email: c.Email, Name: c.Name, Verified: c.Verified, Password: strings.TrimRight(password, "\r\n")}
	return a.do(ctx, t, "create-user", in, "Created the account of "+c.Email+".")
}

type createOrg struct {
	Slug  string `required:"" placeholder:"S" help:"Short name in addresses: 2 to 40 of a-z, 0-9 and -."`
	Name  string `required:"" placeholder:"N" help:"Name."`
	Owner string `required:"" placeholder:"E" help:"The owner's e-mail address."`
	Plan  string `default:"free" enum:"free,team,enterprise" help:"Plan (${enum})."`
}

// Run creates the organization.
func (c createOrg) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	in := admin.Organization{Slug: c.Slug, Name: c.Name, Owner: c.Owner, Plan: c.Plan}
	return a.do(ctx, t, "create-org", in, "Created the organization "+c.Slug+", owned by "+c.Owner+".")
}

type addMember struct {
	Org   string `required:"" placeholder:"S" help:"The organization's slug."`
	Email string `required:"" placeholder:"E" help:"E-mail address."`
	Role  string `required:"" enum:"owner,admin,manager,member,guest" placeholder:"R" help:"Role (${enum})."`
}

// Run adds the member.
func (c addMember) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	in := admin.Membership{Organization: c.Org, Email: c.Email, Role: c.Role}
	return a.do(ctx, t, "add-member", in, c.Email+" is now "+c.Role+" in "+c.Org+".")
}

type setRole struct {
	Org   string `required:"" placeholder:"S" help:"The organization's slug."`
	Email string `required:"" placeholder:"E" help:"E-mail address."`
	Role  string `required:"" enum:"owner,admin,manager,member,guest" placeholder:"R" help:"Role (${enum})."`
}

// Run changes the role.
func (c setRole) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	in := admin.Membership{Organization: c.Org, Email: c.Email, Role: c.Role}
	return a.do(ctx, t, "set-role", in, c.Email+" is now "+c.Role+" in "+c.Org+".")
}

type removeMember struct {
	Org   string `required:"" placeholder:"S" help:"The organization's slug."`
	Email string `required:"" placeholder:"E" help:"E-mail address."`
}

// Run removes the member.
func (c removeMember) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	in := admin.Membership{Organization: c.Org, Email: c.Email}
	return a.do(ctx, t, "remove-member", in, c.Email+" is no longer a member of "+c.Org+".")
}

type suspendUser struct {
	Email string `required:"" placeholder:"E" help:"E-mail address."`
}

// Run suspends the account.
func (c suspendUser) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	return a.do(ctx, t, "suspend-user", admin.User{Email: c.Email}, "Suspended "+c.Email+": sessions ended, tokens rest.")
}

type restoreUser struct {
	Email string `required:"" placeholder:"E" help:"E-mail address."`
}

// Run restores the account.
func (c restoreUser) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	return a.do(ctx, t, "restore-user", admin.User{Email: c.Email}, "Restored "+c.Email+".")
}

type setPlan struct {
	Org  string `required:"" placeholder:"S" help:"The organization's slug."`
	Plan string `required:"" enum:"free,team,enterprise" placeholder:"P" help:"Plan (${enum})."`
}

// Run changes the plan.
func (c setPlan) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	return a.do(ctx, t, "set-plan", admin.Organization{Slug: c.Org, Plan: c.Plan}, c.Org+" is now on the "+c.Plan+" plan.")
}

type trustTokens struct{}

// Run ends the rest of tokens.
func (trustTokens) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	return a.count(ctx, t, "trust-tokens", admin.Tokens{}, "Trusted %s in %s. What rested since a backup was restored works again.")
}

type revokeAll struct {
	Org string `placeholder:"S" help:"The slug of the organization whose tokens are meant. Default: all."`
}

// Run revokes the tokens.
func (c revokeAll) Run(ctx context.Context, a *adminCommands, t *cli.Terminal) error {
	of := ""
	if c.Org != "" {
		of = " of " + c.Org
	}
	return a.count(ctx, t, "revoke-all-tokens", admin.Tokens{Organization: c.Org}, "Revoked %s"+of+" in %s.")
}

// count carries a command out that answers with how many it changed.
func (a *adminCommands) count(ctx context.Context, t *cli.Terminal, command string, input admin.Tokens, done string) error {
	answer, err := a.ask(ctx, t, command, input)
	if err != nil {
		return err
	}
	var changed admin.Tokens
	if err := json.Unmarshal(answer, &changed); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return a.print(t, answer, fmt.Sprintf(done, counted(changed.Count, "token"), a.where()))
}

// do carries a command out and says that it is done.
func (a *adminCommands) do(ctx context.Context, t *cli.Terminal, command string, input any, done string) error {
	answer, err := a.ask(ctx, t, command, input)
	if err != nil {
		return err
	}
	return a.print(t, answer, done)
}

func (a *adminCommands) print(t *cli.Terminal, answer json.RawMessage, done string) error {
	if a.JSON {
		done = string(answer)
	}
	_, err := fmt.Fprintln(t.Out, done)
	return err
}

// ask has a command carried out: by the server that runs on the folder, or on the folder itself.
func (a *adminCommands) ask(ctx context.Context, t *cli.Terminal, command string, input any) (json.RawMessage, error) {
	encoded, err := json.Marshal(input)
	if err != nil {
		return nil, fmt.Errorf("write the command: %w", err)
	}
	request := admin.Request{Command: command, Input: encoded}
	answer, err := json.RawMessage(nil), admin.ErrNoServer
	if a.Database == "" {
		answer, err = admin.Call(ctx, a.Data, request)
	}
	if !errors.Is(err, admin.ErrNoServer) {
		return answer, err
	}
	if _, err := os.Stat(filepath.Join(a.Data, db.FileName)); a.Database == "" && command != "create-user" && errors.Is(err, fs.ErrNotExist) {
		return nil, problem.Newf(problem.NotFound, "There is no store in %s, and nothing was changed. Name the folder with --data, or the database with CARNET_DATABASE or --database.", a.Data)
	}
	return a.direct(ctx, t, request)
}

// where names the store that commands are carried out on.
func (a *adminCommands) where() string {
	if name, err := db.DatabaseName(a.Database); a.Database != "" && err == nil {
		return "the database " + name
	}
	return a.Data
}

// direct opens the store for one command.
func (a *adminCommands) direct(ctx context.Context, t *cli.Terminal, request admin.Request) (json.RawMessage, error) {
	h, err := house.Build(ctx, house.Plan{
		Data: a.Data, Database: a.Database, Connections: 16, PublicURL: "http://localhost", Log: newLog(t.Err, "warn", "text"),
		Fatal: func(error) {}, // the command's own error says it
	})
	if errors.Is(err, db.ErrInUse) {
		return nil, fmt.Errorf("%w. It does not answer commands either; it may be starting or stopping", err)
	}
	if err != nil {
		return nil, err
	}
	out, err := admin.Operator{Account: h.Account, Org: h.Org, Tokens: h.Tokens, Store: h.DB}.Do(ctx, request)
	if err = errors.Join(err, h.Close(ctx)); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}
