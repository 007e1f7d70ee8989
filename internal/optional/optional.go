// Package optional tells apart the three things that a field of a change can say: nothing, null, or a value.
package optional

import (
	"bytes"
	"encoding/json"
)

// Value is a field of a change. The zero Value is a field that was not sent: what it names stays as it is.
type Value[T any] struct {
	Set  bool // the field was sent, as null or with a value
	Null bool // it was sent as null
	V    T    // what was sent; the zero T when Null or not Set
}

// Of returns a field that was sent with the value v.
func Of[T any](v T) Value[T] { return Value[T]{Set: true, V: v} }

// Null returns a field that was sent as null.
func Null[T any]() Value[T] { return Value[T]{Set: true, Null: true} }

// UnmarshalJSON is called for fields that are present only, which is what makes Set true.
func (v *Value[T]) UnmarshalJSON(data []byte) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		*v = Null[T]()
		return nil
	}
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	*v = Of(value)
	return nil
}

// MarshalJSON writes the value, and null when there is none. Give the field `omitzero` so that one that was not sent
// stays absent.
func (v Value[T]) MarshalJSON() ([]byte, error) {
	if !v.Set || v.Null {
		return []byte("null"), nil
	}
	return json.Marshal(v.V)
}
