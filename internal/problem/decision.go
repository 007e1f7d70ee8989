package problem

import (
	"strings"

	"carnet/access"
)

// From turns a refusal of [access.Decide] into the error that says which gate closed and what would open it. It returns
// nil for Allowed.
func From(d access.Decision, p access.Permission) error {
	switch d {
	case access.Allowed:
		return nil
	case access.NeedCredential:
		return New(CredentialMissing, "Send a credential: Authorization: Bearer, followed by a token.")
	case access.NeedSignIn:
		return New(SignInRequired, "This needs a person who is signed in. No token can do it, whatever its scopes.")
	case access.NeedScope:
		var names []string
		for _, s := range access.Accepting(p) {
			names = append(names, s.String())
		}
		e := Newf(ScopeMissing, "The token lacks the scope that this needs: %s. Create a token that has it.", strings.Join(names, " or "))
		e.AcceptedScopes = names
		return e
	case access.NeedPolicy:
		return Newf(PolicyDenied, "Your organization's agent policy does not let agents do this: %s. One of its admins can allow it; Settings, Agents leads to what is allowed.", p)
	case access.NeedUnrestricted:
		return New(ProjectRestricted, "The token is limited to certain projects, and this reaches beyond them. Use a token that is not limited to projects.")
	case access.NeedRole:
		return Newf(RoleInsufficient, "Your role does not permit this here: %s. Someone with a greater role can do it or raise yours.", p)
	default:
		return Absent()
	}
}

// Require decides and returns the refusal as an error, nil when the caller may.
func Require(c *access.Caller, p access.Permission, r access.Resource) error {
	return From(access.Decide(c, p, r), p)
}

// RequireMay returns the refusal that is known before anything is looked up, nil when it is worth looking.
func RequireMay(c *access.Caller, p access.Permission) error {
	return From(access.May(c, p), p)
}
