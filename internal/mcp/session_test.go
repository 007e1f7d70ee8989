package mcp_test

import "carnet/internal/account"

// signedIn returns the value of a new session of the owner.
func signedIn(w *town) string {
	w.t.Helper()
	made, err := w.Account.SignIn(w.t.Context(), account.SignIn{Email: "maya@example.com", Password: password, Kind: account.Bearer})
	if err != nil {
		w.t.Fatal(err)
	}
	return made.Value.Reveal()
}
