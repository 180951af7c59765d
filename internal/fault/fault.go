// Package fault is how Satchel says no: an error with a stable code, a kind
// and words for a person. The HTTP status is decided at the edge from the
// kind; an error without a code is internal and its text is never shown.
package fault

import (
	"errors"
	"fmt"
)

// Kind groups codes by what the caller can do about them.
type Kind uint8

// The kinds, and the HTTP status an edge answers them with.
const (
	Internal        Kind = iota // 500
	Invalid                     // 400
	Unauthenticated             // 401
	Forbidden                   // 403
	NotFound                    // 404
	Conflict                    // 409
	Precondition                // 412
	TooLarge                    // 413
	Unsupported                 // 415
	Unprocessable               // 422
	TooMany                     // 429
	Unavailable                 // 503
	Storage                     // 507
	Outdated                    // 426: the client has to be updated
)

// Error is a refusal. Two errors with the same code are the same answer to
// errors.Is.
type Error struct {
	Code    Code
	Message string         // for a person; quotes only what the caller sent
	Field   string         // the field at fault, "" for none
	Extra   map[string]any // further members of the problem document
	cause   error
}

// New makes a refusal with the code's own words.
func New(c Code) *Error { return &Error{Code: c, Message: c.Text()} }

// Newf makes a refusal with words of its own.
func Newf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// OnField says which field is at fault.
func (e *Error) OnField(name string) *Error {
	e.Field = name
	return e
}

// With adds a member to the problem document.
func (e *Error) With(key string, value any) *Error {
	if e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra[key] = value
	return e
}

// Because keeps the underlying error for logs; it is never shown.
func (e *Error) Because(err error) *Error {
	e.cause = err
	return e
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// Of returns the refusal within err; anything that is none becomes an
// internal one that keeps err as its cause. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(InternalError).Because(err)
}

// Is reports whether err is a refusal with the code.
func Is(err error, c Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == c
}
