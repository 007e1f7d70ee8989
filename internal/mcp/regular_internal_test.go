package mcp

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// Whatever is odd about a request is left to the SDK, which knows the protocol.
func TestOnlyRegularCallsAreAnsweredHere(t *testing.T) {
	t.Parallel()
	here := &tool{name: "get_task"}
	d := &Door{tools: map[string]*tool{"get_task": here}}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-11-25"}}
	modern := maps.Clone(header)
	modern["Mcp-Protocol-Version"], modern["Mcp-Method"], modern["Mcp-Name"] = []string{"2026-07-28"}, []string{"tools/call"}, []string{"get_task"}
	const (
		body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_task","arguments":{"task":"WEB-1"}}}`
		said = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"name":"get_task","arguments":{"task":"WEB-1"}}}`
	)
	regular := func(header http.Header, body string) bool {
		m, ok := parse([]byte(body))
		return ok && d.regular(header, &m) == here
	}
	if !regular(header, body) || !regular(modern, said) {
		t.Fatal("a regular call is not taken")
	}
	for _, version := range []string{"", "2025-03-26", "2025-06-18"} {
		h := maps.Clone(header)
		if h["Mcp-Protocol-Version"] = []string{version}; !regular(h, body) {
			t.Errorf("a regular call in revision %q is not taken", version)
		}
	}
	for name, change := range map[string][2]string{
		"a batch":                        {body, "[" + body + "]"},
		"no version of JSON-RPC":         {`"jsonrpc":"2.0",`, ``},
		"another version of JSON-RPC":    {`"jsonrpc":"2.0"`, `"jsonrpc":"1.0"`},
		"a notification":                 {`"id":1,`, ``},
		"no id":                          {`"id":1`, `"id":null`},
		"an id with a fraction":          {`"id":1`, `"id":1.5`},
		"an id with an exponent":         {`"id":1`, `"id":1e3`},
		"an id below zero":               {`"id":1`, `"id":-1`},
		"an id too large to be exact":    {`"id":1`, `"id":12345678901234567`},
		"an id that is quoted":           {`"id":1`, `"id":"\u0041"`},
		"an id with a tag":               {`"id":1`, `"id":"<b>"`},
		"an object for an id":            {`"id":1`, `"id":{}`},
		"another method":                 {`tools/call`, `tools/list`},
		"a method in capitals":           {`"tools/call"`, `"TOOLS/CALL"`},
		"another tool":                   {`"get_task"`, `"drop_task"`},
		"no tool":                        {`"name":"get_task",`, ``},
		"a field beside the others":      {`"id":1`, `"id":1,"result":{}`},
		"a parameter beside the others":  {`"name":"get_task"`, `"name":"get_task","task":{"ttl":1}`},
		"arguments in a list":            {`{"task":"WEB-1"}`, `["WEB-1"]`},
		"no arguments":                   {`{"task":"WEB-1"}`, `null`},
		"a field twice":                  {`"id":1`, `"id":1,"id":1`},
		"an argument twice":              {`{"task":"WEB-1"}`, `{"task":"WEB-1","task":"WEB-2"}`},
		"a field in capitals":            {`"method"`, `"Method"`},
		"something behind it":            {body, body + body},
		"not UTF-8":                      {`WEB-1`, "\xff"},
		"another revision in the body":   {`"name":"get_task"`, `"name":"get_task","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`},
		"a client where none belongs":    {`"name":"get_task"`, `"name":"get_task","clientInfo":{"name":"x"}`},
		"nothing":                        {body, ``},
		"a word":                         {body, `true`},
		"parameters in a list":           {`{"name":"get_task","arguments":{"task":"WEB-1"}}`, `["get_task"]`},
		"a name that is a number":        {`"get_task"`, `7`},
		"a _meta that is a word":         {`"name":"get_task"`, `"name":"get_task","_meta":"x"`},
		"capabilities that are a number": {`"name":"get_task"`, `"name":"get_task","_meta":{"io.modelcontextprotocol/protocolVersion":1}`},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if changed == body {
			t.Fatalf("%s: nothing is changed", name)
		}
		if regular(header, changed) {
			t.Errorf("%s is taken for regular: %s", name, changed)
		}
	}
	for name, change := range map[string][2]string{
		"no revision":                  {`"io.modelcontextprotocol/protocolVersion":"2026-07-28",`, ``},
		"another revision in the body": {`2026-07-28`, `2025-11-25`},
		"no capabilities":              {`,"io.modelcontextprotocol/clientCapabilities":{}`, ``},
		"a list of capabilities":       {`Capabilities":{}`, `Capabilities":[]`},
		"roots that are a number":      {`Capabilities":{}`, `Capabilities":{"roots":5}`},
		"sampling that is a word":      {`Capabilities":{}`, `Capabilities":{"sampling":"yes"}`},
		"no client":                    {`Capabilities":{}`, `Capabilities":{},"io.modelcontextprotocol/clientInfo":null`},
		"a client with a number":       {`Capabilities":{}`, `Capabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"x","icons":5}`},
		"a client without a name":      {`Capabilities":{}`, `Capabilities":{},"io.modelcontextprotocol/clientInfo":{"name":5}`},
		"arguments nested too deep":    {`{"task":"WEB-1"}`, `{"task":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`},
	} {
		changed := strings.Replace(said, change[0], change[1], 1)
		if changed == said {
			t.Fatalf("%s: nothing is changed", name)
		}
		if regular(modern, changed) {
			t.Errorf("%s is taken for regular: %s", name, changed)
		}
	}
	for name, more := range map[string]string{
		"roots":                 `"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{}},"experimental":{"x":1},"extensions":{"io.modelcontextprotocol/ui":{}}`,
		"what is not known yet": `"dreams":7`,
	} {
		if body := strings.Replace(said, `Capabilities":{}`, `Capabilities":{`+more+`},"io.modelcontextprotocol/clientInfo":{"name":"x","title":"X","version":"1","description":"d","websiteUrl":"https://x.example"}`, 1); !regular(modern, body) {
			t.Errorf("capabilities with %s are not taken", name)
		}
	}
	for name, change := range map[string][2]string{
		"another type":          {"Content-Type", "text/plain"},
		"only JSON is taken":    {"Accept", "application/json"},
		"a stream to go on":     {"Last-Event-Id", "7"},
		"a revision of nowhere": {"Mcp-Protocol-Version", "2024-11-05"},
		"another method":        {"Mcp-Method", "tools/list"},
		"another name":          {"Mcp-Name", "get_project"},
		"an older revision":     {"Mcp-Protocol-Version", "2025-11-25"},
	} {
		h := maps.Clone(modern)
		if h[change[0]] = []string{change[1]}; regular(h, said) {
			t.Errorf("%s is taken for regular", name)
		}
	}
}
