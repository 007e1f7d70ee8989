package web

import (
	"encoding/base64"
	"html/template"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// serverName is what agents' programs call this server in their settings.
const serverName = "carnet"

// mcpClient is a program that agents run in, and how it is told about this server. Texts have places for {name}, {url}
// and {value}; links have none for a value, which must never stand in an address.
type mcpClient struct {
	ID, Name string
	// SignIn connects without a token: the program opens a browser, where its user signs in and consents.
	SignIn []snippet
	// Link opens the program with the server filled in, for the same; empty where there is no such address.
	Link, LinkText string
	// Bearer connects with a pasted token; empty where the program takes none.
	Bearer []snippet
	// Forget goes before the first of these when the program knows the server already, and would refuse it; empty where what
	// is pasted takes the place of what was there.
	Forget string
	Note   string // what people should know before
	Cloud  bool   // a service connects, and no program on the person's machine
	// Source is where the form of all of this is documented, as it was on the day Checked.
	Source, Checked string
}

// snippet is something to paste, and where.
type snippet struct{ Where, Text string }

const (
	exportLine = `export CARNET_AGENT_TOKEN='{value}'`
	exportIn   = "In the shell that starts it"
	checkedOn  = "2026-11-23"
)

var mcpClients = []mcpClient{
	{
		ID: "claude-code", Name: "Claude Code", Source: "https://code.claude.com/docs/en/mcp", Checked: checkedOn,
		SignIn: []snippet{{"In a shell", "claude mcp add --transport http --scope user {name} {url}\nclaude mcp login {name}"}},
		Bearer: []snippet{
			{"In a shell; Claude Code keeps the value in its settings", `claude mcp add --transport http --scope user {name} {url} --header "Authorization: Bearer {value}"`},
			{"Or for a team, in .mcp.json; Claude Code asks everyone once whether to use it", `{
  "mcpServers": {
    "{name}": {
      "type": "http",
      "url": "{url}",
      "headers": { "Authorization": "Bearer ${CARNET_AGENT_TOKEN}" }
    }
  }
}`},
			{"With that file, in the shell that starts it", exportLine},
		},
		Forget: "claude mcp remove --scope user {name}",
	},
	{
		ID: "claude", Name: "Claude Desktop and claude.ai", Source: "https://support.anthropic.com/en/articles/11503834-building-custom-connectors-via-remote-mcp-servers", Checked: checkedOn,
		SignIn: []snippet{{"In Settings → Connectors → Add custom connector", "{url}"}},
		Link:   "https://claude.ai/customize/connectors?modal=add-custom-connector&connectorName=Carnet&connectorUrl={query}", LinkText: "Add it on claude.ai",
		Bearer: []snippet{{"In claude_desktop_config.json", bridge}},
		Cloud:  true,
		Note:   "Connectors are reached from Anthropic's cloud. A server that only your own network reaches needs a token, and the bridge that then runs on your machine.",
	},
	{
		ID: "cursor", Name: "Cursor", Source: "https://cursor.com/docs/mcp/install-links", Checked: checkedOn,
		SignIn: []snippet{{"In ~/.cursor/mcp.json", `{
  "mcpServers": {
    "{name}": { "url": "{url}" }
  }
}`}},
		Link: "cursor://anysphere.cursor-deeplink/mcp/install?name={name}&config={base64}", LinkText: "Add it to Cursor",
		Bearer: []snippet{
			{"In ~/.cursor/mcp.json, or .cursor/mcp.json of a project", `{
  "mcpServers": {
    "{name}": {
      "url": "{url}",
      "headers": { "Authorization": "Bearer ${env:CARNET_AGENT_TOKEN}" }
    }
  }
}`},
			{exportIn, exportLine},
		},
	},
	{
		ID: "vscode", Name: "VS Code", Source: "https://code.visualstudio.com/docs/copilot/reference/mcp-configuration", Checked: checkedOn,
		SignIn: []snippet{{"In .vscode/mcp.json, or your profile's mcp.json", `{
  "servers": {
    "{name}": { "type": "http", "url": "{url}" }
  }
}`}},
		Link: "vscode:mcp/install?{json}", LinkText: "Add it to VS Code",
		Bearer: []snippet{{"In .vscode/mcp.json, or your profile's mcp.json; VS Code asks for the token once and keeps it", `{
  "inputs": [
    { "type": "promptString", "id": "{name}-token", "description": "Carnet agent token", "password": true }
  ],
  "servers": {
    "{name}": {
      "type": "http",
      "url": "{url}",
      "headers": { "Authorization": "Bearer ${input:{name}-token}" }
    }
  }
}`}},
	},
	{
		ID: "codex", Name: "Codex", Source: "https://developers.openai.com/codex/mcp", Checked: checkedOn,
		SignIn: []snippet{{"In a shell", "codex mcp add {name} --url {url}"}},
		Bearer: []snippet{
			{"In ~/.codex/config.toml", "[mcp_servers.{name}]\nurl = \"{url}\"\nbearer_token_env_var = \"CARNET_AGENT_TOKEN\""},
			{exportIn, exportLine},
		},
	},
	{
		ID: "gemini-cli", Name: "Gemini CLI", Source: "https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md", Checked: checkedOn,
		SignIn: []snippet{
			{"In a shell", "gemini mcp add --transport http --scope user {name} {url}"},
			{"Then, in Gemini CLI", "/mcp auth {name}"},
		},
		Bearer: []snippet{
			{"In ~/.gemini/settings.json", `{
  "mcpServers": {
    "{name}": {
      "httpUrl": "{url}",
      "headers": { "Authorization": "Bearer $CARNET_AGENT_TOKEN" }
    }
  }
}`},
			{exportIn, exportLine},
		},
	},
	{
		ID: "windsurf", Name: "Windsurf", Source: "https://docs.windsurf.com/windsurf/cascade/mcp", Checked: checkedOn,
		SignIn: []snippet{{"In ~/.codeium/windsurf/mcp_config.json", `{
  "mcpServers": {
    "{name}": { "serverUrl": "{url}" }
  }
}`}},
		Bearer: []snippet{
			{"In ~/.codeium/windsurf/mcp_config.json", `{
  "mcpServers": {
    "{name}": {
      "serverUrl": "{url}",
      "headers": { "Authorization": "Bearer ${env:CARNET_AGENT_TOKEN}" }
    }
  }
}`},
			{exportIn, exportLine},
		},
	},
	{
		ID: "zed", Name: "Zed", Source: "https://zed.dev/docs/ai/mcp", Checked: checkedOn,
		SignIn: []snippet{{"In Zed's settings.json", `{
  "context_servers": {
    "{name}": { "url": "{url}" }
  }
}`}},
		Bearer: []snippet{{"In Zed's settings.json", `{
  "context_servers": {
    "{name}": {
      "url": "{url}",
      "headers": { "Authorization": "Bearer {value}" }
    }
  }
}`}},
	},
	{
		ID: "opencode", Name: "OpenCode", Source: "https://opencode.ai/docs/mcp-servers", Checked: checkedOn,
		SignIn: []snippet{
			{"In opencode.json", `{
  "mcp": {
    "{name}": { "type": "remote", "url": "{url}" }
  }
}`},
			{"Then, in a shell", "opencode mcp auth {name}"},
		},
		Bearer: []snippet{
			{"In opencode.json", `{
  "mcp": {
    "{name}": {
      "type": "remote",
      "url": "{url}",
      "oauth": false,
      "headers": { "Authorization": "Bearer {env:CARNET_AGENT_TOKEN}" }
    }
  }
}`},
			{exportIn, exportLine},
		},
	},
	{
		ID: "copilot-cli", Name: "Copilot CLI", Source: "https://docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers", Checked: checkedOn,
		SignIn: []snippet{{"In ~/.copilot/mcp-config.json", `{
  "mcpServers": {
    "{name}": { "type": "http", "url": "{url}", "tools": ["*"] }
  }
}`}},
		Bearer: []snippet{{"In ~/.copilot/mcp-config.json", `{
  "mcpServers": {
    "{name}": {
      "type": "http",
      "url": "{url}",
      "headers": { "Authorization": "Bearer {value}" },
      "tools": ["*"]
    }
  }
}`}},
	},
	{
		ID: "mcp-remote", Name: "mcp-remote", Source: "https://github.com/geelen/mcp-remote", Checked: checkedOn,
		SignIn: []snippet{{"As the command of a local server, in any program that starts one", "npx -y mcp-remote {url}"}},
		Bearer: []snippet{{"Where your program lists its servers", bridge}},
		Note:   "A bridge for programs that only start local servers.",
	},
	{
		ID: "chatgpt", Name: "ChatGPT", Source: "https://developers.openai.com/apps-sdk/deploy/connect-chatgpt", Checked: "2026-11-27",
		SignIn: []snippet{{"In Settings → Connectors → Create, with developer mode on (Advanced) and OAuth as the authentication", "{url}"}},
		Cloud:  true,
		Note:   "Connectors are reached from OpenAI's cloud, so the server must be on the public internet, by HTTPS.",
	},
	{
		ID: "other", Name: "Other MCP client", Source: "https://modelcontextprotocol.io/specification/2025-11-25/basic/transports", Checked: checkedOn,
		SignIn: []snippet{{"The server's address, by Streamable HTTP; a client that can sign in finds the rest from it", "{url}"}},
		Bearer: []snippet{{"What to tell it, in its own form", "URL:       {url}\nTransport: Streamable HTTP\nHeader:    Authorization: Bearer {value}"}},
	},
}

// bridge is how programs that only start local servers are led here. There is no space after the colon, because some of
// them part arguments at spaces.
const bridge = `{
  "mcpServers": {
    "{name}": {
      "command": "npx",
      "args": ["-y", "mcp-remote", "{url}", "--header", "Authorization:${AUTH_HEADER}"],
      "env": { "AUTH_HEADER": "Bearer {value}" }
    }
  }
}`

// clientOf returns the client of that id; ok is false for any other text.
func clientOf(id string) (c mcpClient, ok bool) {
	for _, c := range mcpClients {
		if c.ID == id {
			return c, true
		}
	}
	return mcpClient{}, false
}

// clientNamed returns the client that an agent's token says it is for, or else the one for any other.
func clientNamed(name string) mcpClient {
	for _, c := range mcpClients {
		if c.Name == name {
			return c
		}
	}
	return mcpClients[len(mcpClients)-1]
}

// signIn returns what connects the client without a token.
func (c mcpClient) signIn(mcpURL string) []copyable {
	return pasteable("sign-in", c.SignIn, "{name}", serverName, "{url}", mcpURL)
}

// bearer returns what connects the client with a token.
func (c mcpClient) bearer(mcpURL, value string) []copyable {
	return pasteable("snippet", c.Bearer, "{name}", serverName, "{url}", mcpURL, "{value}", value)
}

// Pasted returns what is to be pasted. After a rotation the program has the old value under our name, and forgets it first.
func (p valuePage) Pasted() []copyable {
	forget := ""
	if p.Rotated && p.Client != "" {
		forget = clientNamed(p.Client).Forget
	}
	if forget == "" {
		return p.Snippets
	}
	list := slices.Clone(p.Snippets)
	list[0].Text = strings.ReplaceAll(forget, "{name}", serverName) + "\n" + list[0].Text
	return list
}

// note returns what people should know before, with this server at that address.
func (c mcpClient) note(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil || !c.Cloud {
		return c.Note
	}
	if at, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && at.IsLoopback() {
		return c.Note + " That cloud cannot reach this server now: its address, " + publicURL + ", is known to your own machine alone."
	}
	return c.Note
}

// link returns the address that opens the client with the server filled in.
func (c mcpClient) link(mcpURL string) template.URL {
	query := strings.ReplaceAll(url.QueryEscape(mcpURL), "+", "%20")
	object := base64.StdEncoding.EncodeToString([]byte(`{"url":"` + mcpURL + `"}`))
	whole := url.QueryEscape(`{"name":"` + serverName + `","type":"http","url":"` + mcpURL + `"}`)
	filled := strings.NewReplacer("{name}", serverName, "{query}", query, "{base64}", url.QueryEscape(object), "{json}", whole).Replace(c.Link)
	return template.URL(filled) //nolint:gosec // ours, with schemes that templates do not know
}

func pasteable(id string, snippets []snippet, places ...string) []copyable {
	fill := strings.NewReplacer(places...)
	var list []copyable
	for i, s := range snippets {
		list = append(list, copyable{ID: id + "-" + string(rune('1'+i)), Label: s.Where, Text: fill.Replace(s.Text)})
	}
	return list
}
