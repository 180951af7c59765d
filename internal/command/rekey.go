package command

import "satchel/internal/ident"

// Rekey gives a tenant another secret for the keys that the edges derive:
// those of refresh tokens and of sealed second factors. It is an operator's:
// a command with an actor is refused.
type Rekey struct {
	Secret []byte `json:"secret"` // 32 random bytes
	// Factors are all second factors of the tenant, sealed anew.
	Factors []Resealed `json:"factors,omitempty"`
}

// Resealed is a second factor whose secret was sealed with another key.
type Resealed struct {
	Employee ident.RecordID `json:"employee"`
	// Key names the factor as it was read, and Sealed is its secret sealed anew.
	Key    []byte `json:"key"`
	Sealed []byte `json:"sealed"`
}
