package mcp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// The SDK makes a session of each request and ends it again, which takes a third of a megabyte. Nearly all requests are
// calls of tools that look the same: those are answered here, with the words that the SDK would use. It keeps everything
// else, and everything that is in any way odd. A test holds both answers side by side.

// firstWithoutHandshake is the revision from which on each request says what it is, in its headers and in its _meta.
const firstWithoutHandshake = "2026-07-28"

// message is a request as clients send it.
type message struct {
	JSONRPC string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id"`
	Method  string         `json:"method"`
	Params  params         `json:"params"`
	Unknown jsontext.Value `json:",embed"`

	deep bool // may nest deeper than the SDK reads
}

// params are what tools/call and initialize say.
type params struct {
	Name       string         `json:"name"`
	Arguments  jsontext.Value `json:"arguments"`
	Meta       meta           `json:"_meta"`
	ClientInfo implementation `json:"clientInfo"`
	Unknown    jsontext.Value `json:",embed"`
}

// meta is what a request says of itself, but for what changes no answer here, such as a token to report progress to.
type meta struct {
	ProtocolVersion string         `json:"io.modelcontextprotocol/protocolVersion"`
	Capabilities    jsontext.Value `json:"io.modelcontextprotocol/clientCapabilities"`
	ClientInfo      implementation `json:"io.modelcontextprotocol/clientInfo"`
}

// regular returns the tool that a request calls, if all about it is as in nearly all requests.
func (d *Door) regular(header http.Header, m *message) *tool {
	version := header.Get("Mcp-Protocol-Version")
	p := &m.Params
	t := d.tools[p.Name]
	switch {
	case t == nil, m.Method != "tools/call", m.JSONRPC != "2.0", !plainID(m.ID), m.deep, len(m.Unknown) > 0, len(p.Unknown) > 0,
		p.ClientInfo != (implementation{}), p.Meta.ClientInfo.odd, len(p.Arguments) > 0 && p.Arguments.Kind() != '{':
		return nil
	case header.Get("Content-Type") != "application/json", !takesBoth(header["Accept"]), header.Get("Last-Event-Id") != "":
		return nil
	}
	switch version {
	case firstWithoutHandshake:
		if header.Get("Mcp-Method") == m.Method && header.Get("Mcp-Name") == p.Name && p.Meta.ProtocolVersion == version && knownCapabilities(p.Meta.Capabilities) {
			return t
		}
	case "", "2025-03-26", "2025-06-18", "2025-11-25":
		if p.Meta.ProtocolVersion == "" {
			return t
		}
	}
	return nil
}

// knownCapabilities reports whether capabilities are what the SDK reads.
func knownCapabilities(said jsontext.Value) bool {
	if said.Kind() != '{' {
		return false
	}
	var known struct {
		sdk.ClientCapabilities
		Roots *struct {
			ListChanged bool `json:"listChanged"`
		} `json:"roots"`
	}
	return len(said) == len("{}") || jsonv2.Unmarshal(said, &known) == nil
}

// plainID reports whether an id is a string that needs no quoting, or a number that every program reads as the same one.
func plainID(id jsontext.Value) bool {
	switch id.Kind() {
	case '"':
		return !bytes.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`\<>&`, r) })
	case '0':
		return len(id) <= 15 && strings.Trim(string(id), "0123456789") == "" && (id[0] != '0' || len(id) == 1)
	default:
		return false
	}
}

// takesBoth reports whether a client takes JSON and streams, said in one of the ways in which clients say it.
func takesBoth(accept []string) bool {
	return len(accept) == 1 && (accept[0] == "application/json, text/event-stream" || accept[0] == "text/event-stream, application/json")
}

// response is the answer to a call, its fields in the SDK's order.
type response struct {
	JSONRPC string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id"`
	Result  toolResult     `json:"result"`
}

type toolResult struct {
	Meta              json.RawMessage `json:"_meta,omitempty"`
	Content           []sdk.Content   `json:"content"`
	StructuredContent any             `json:"structuredContent,omitempty"`
	IsError           bool            `json:"isError,omitempty"`
	ResultType        string          `json:"resultType,omitempty"`
}

// answer carries out a regular call and answers it.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, c *call, t *tool, m *message) {
	result := t.result(r.Context(), c, m.Params.Arguments)
	a := response{JSONRPC: "2.0", ID: m.ID, Result: toolResult{Content: result.Content, StructuredContent: result.StructuredContent, IsError: result.IsError}}
	if m.Params.Meta.ProtocolVersion != "" {
		a.Result.Meta, a.Result.ResultType = d.selfMeta, "complete"
	}
	body, err := json.Marshal(a)
	if err != nil {
		d.Log.Error("an answer cannot be written", "request", c.info.ID, "tool", t.name, "error", err)
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// parse reads a request; ok is false for what is not one JSON object with fields of our kinds. Of such, the message has no
// more than what is called, where that can be told: what it needs is asked of every call.
func parse(body []byte) (m message, ok bool) {
	if jsontext.Value(body).Kind() != '{' {
		return message{}, false
	}
	if jsonv2.Unmarshal(body, &m) != nil {
		var least struct {
			Method jsontext.Value            `json:"method"`
			Params map[string]jsontext.Value `json:"params"`
			Rest   jsontext.Value            `json:",embed"`
		}
		m = message{}
		if jsonv2.Unmarshal(body, &least) == nil {
			m.Method, m.Params.Name = textOf(least.Method), textOf(least.Params["name"])
		}
		return m, false
	}
	m.deep = bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) > depthOfSDK
	return m, true
}

// textOf returns the text that a value is, "" for a value of another kind.
func textOf(v jsontext.Value) (text string) {
	if v.Kind() != '"' || jsonv2.Unmarshal(v, &text) != nil {
		return ""
	}
	return text
}

// depthOfSDK is how deep the JSON that the SDK reads can nest.
const depthOfSDK = 1000
