package house

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"carnet/internal/api"
	"carnet/internal/mcp"
	"carnet/internal/oauth"
	"carnet/internal/server"
	"carnet/internal/web"
)

// Front says how the house meets the network.
type Front struct {
	PublicURL      *url.URL
	TrustedProxies []netip.Prefix
	AccessLog      bool
	AgentCalls     int    // that each token may make of /mcp in a minute; 0: the default
	OAuth          bool   // MCP clients may sign people in
	Version        string // of the program
}

// Doors builds the doors and the server in front of them, and the metrics that it counts.
func (h *House) Doors(f Front) (*server.Server, *server.Metrics, error) {
	https := f.PublicURL.Scheme == "https"
	who := server.NewIdentifier(h.Verify, https)
	mux := http.NewServeMux()
	rest := api.New(api.Config{
		Account: h.Account, Org: h.Org, Work: h.Work, Tokens: h.Tokens, Identify: who.Identify, Log: h.log, Version: f.Version, Explain: h.DB.Explain,
		CookieName: who.CookieName(), Secure: https,
	})
	rest.Register(mux)
	pages, err := web.New(web.Config{
		Account: h.Account, Org: h.Org, Work: h.Work, Tokens: h.Tokens, Clients: h.Clients, Identify: who.Identify, Log: h.log,
		Explain: h.DB.Explain, CookieName: who.CookieName(), HTTPS: https, PublicURL: f.PublicURL.String(), OpenAPI: rest.Document, Now: time.Now, OAuth: f.OAuth,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the pages: %w", err)
	}
	pages.Register(mux)
	agents := mcp.New(mcp.Config{
		Work: h.Work, Tokens: h.Tokens, Identify: who.Identify, PublicURL: f.PublicURL, CallsPerMinute: f.AgentCalls, OAuth: f.OAuth, Version: f.Version,
		Now: time.Now, Log: h.log, Explain: h.DB.Explain,
	})
	agents.Register(mux)
	if f.OAuth {
		grants := oauth.New(oauth.Config{Clients: h.Clients, DB: h.DB, Log: h.log, Explain: h.DB.Explain})
		grants.Register(mux)
	} else {
		oauth.RegisterNothing(mux)
	}
	metrics := server.NewMetrics(h.Verify.Stats(), h.DB, h.Tokens.RevocationSeconds)
	front, err := server.New(server.Config{
		Mux: mux, PublicURL: f.PublicURL, TrustedProxies: f.TrustedProxies, Log: h.log, AccessLog: f.AccessLog,
		Open: slices.Concat(oauth.Open(), mcp.Open()), Ready: h.DB.Ready, Observe: metrics.Observe,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the server: %w", err)
	}
	return front, metrics, nil
}
