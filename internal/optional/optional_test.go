package optional_test

import (
	"encoding/json"
	"testing"

	"carnet/internal/optional"
)

type change struct {
	Name  optional.Value[string] `json:"name,omitzero"`
	Count optional.Value[int]    `json:"count,omitzero"`
}

func TestAbsentNullAndValueAreThreeThings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]change{
		`{}`:                      {},
		`{"name":null}`:           {Name: optional.Null[string]()},
		`{"name":""}`:             {Name: optional.Of("")},
		`{"name":"a","count":0}`:  {Name: optional.Of("a"), Count: optional.Of(0)},
		`{"count":7,"name":null}`: {Name: optional.Null[string](), Count: optional.Of(7)},
	} {
		var got change
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back change
		if err := json.Unmarshal(again, &back); err != nil || back != want {
			t.Errorf("%s: written as %s and read back as %+v (%v)", text, again, back, err)
		}
	}
}

func TestWrongTypesAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"name":1}`, `{"name":["a"]}`, `{"count":"1"}`, `{"count":1.5}`} {
		var got change
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s was read as %+v", text, got)
		}
	}
}
