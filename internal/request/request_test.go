package request_test

import (
	"net/netip"
	"reflect"
	"testing"

	"carnet/internal/request"
)

func TestContextCarriesTheRequest(t *testing.T) {
	t.Parallel()
	info := &request.Info{ID: "req_1", Address: netip.MustParseAddr("2001:db8::1")}
	if got := request.From(request.With(t.Context(), info)); got != info || got.AddressText() != "2001:db8::1" {
		t.Errorf("the context carries %+v", got)
	}
	if got := request.From(t.Context()); got == nil || !reflect.DeepEqual(*got, request.Info{}) || got.AddressText() != "" {
		t.Errorf("a context without a request carries %+v", got)
	}
}
