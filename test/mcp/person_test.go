// Package mcp_test connects programs that other people wrote to the ordinary server: MCP clients in their released versions
// and the official conformance suite.
package mcp_test

import (
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"carnet/test/harness"
)

// TestMain is the test, or, where a client opens a browser, the person in front of it: the client runs a script of ours,
// which runs this program again.
func TestMain(m *testing.M) {
	if email := os.Getenv("PERSON"); email != "" {
		if err := approve(os.Args[len(os.Args)-1], email); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var (
	hiddenInput  = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)
	checkedRadio = regexp.MustCompile(`<input type="radio" name="([^"]+)" value="([^"]*)"[^>]* checked`)
)

// approve does what a person does with an authorization request: signs in, looks, lets the client have what it asks for,
// and is sent back to it. It knows the pages only as a browser without scripts does.
func approve(address, email string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar}
	at, page, err := visit(browser.Get(address))
	if err != nil {
		return err
	}
	if strings.HasPrefix(at.Path, "/sign-in") {
		form := url.Values{"email": {email}, "password": {harness.Password}, "next": {at.Query().Get("next")}}
		if at, page, err = visit(browser.PostForm(at.ResolveReference(&url.URL{Path: "/sign-in"}).String(), form)); err != nil {
			return err
		}
	}
	form := url.Values{}
	for _, pattern := range []*regexp.Regexp{hiddenInput, checkedRadio} {
		for _, match := range pattern.FindAllStringSubmatch(page, -1) {
			if match[1] != "next" {
				form.Add(match[1], html.UnescapeString(match[2]))
			}
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(form)), func(name string) bool { return strings.HasPrefix(name, "scope.") && form.Get(name) != "none" }) {
		form.Set("scope.projects", "read") // it asked for nothing: it may look around
	}
	answer, err := browser.PostForm(at.String(), form)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	to, found := strings.CutPrefix(answer.Header.Get("Refresh"), "0;url=")
	if !found {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("the page leads nowhere: %d\n%s", answer.StatusCode, text)
	}
	back, err := browser.Get(to)
	if err != nil {
		return fmt.Errorf("go back to the client: %w", err)
	}
	return back.Body.Close()
}

func visit(answer *http.Response, err error) (*url.URL, string, error) {
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return answer.Request.URL, string(text), err
}
