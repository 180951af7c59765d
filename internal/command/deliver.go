package command

import "satchel/internal/ident"

// Deliver reports what became of attempts to send what the outbox holds. The
// system alone hands it in.
type Deliver struct {
	Attempts []Attempt `json:"attempts,omitempty"`
	// Dead are addresses that the carrier no longer knows.
	Dead []DeadAddress `json:"dead,omitempty"`
	// Bounces are mails that came back, or were not taken for the address's
	// sake.
	Bounces []Bounce `json:"bounces,omitempty"`
}

// Bounce is one mail to a person that could not be delivered.
type Bounce struct {
	Person ident.RecordID `json:"person"`
	// Address is the SHA-256 of the address it was sent to, as
	// apply.AddressDigest has it: the person may have another by now.
	Address []byte `json:"address"`
	// Mail names the mail, at most 40 characters, so that what is reported
	// twice counts once.
	Mail string `json:"mail"`
	// Permanent: nothing sent there will arrive. Otherwise it counts towards
	// a limit.
	Permanent bool `json:"permanent,omitempty"`
}

// Attempt is what became of one intent, by its id.
type Attempt struct {
	Intent string `json:"intent"`
	// Done are the channels, as outbox.Channels, on which nothing is left to do:
	// sent, not wanted, or never to be taken.
	Done uint8 `json:"done,omitempty"`
	// Reached are devices that have the push while others are yet to get it.
	Reached []ident.DeviceID `json:"reached,omitempty"`
	// Failed: what is left was tried without success, rather than put off.
	Failed bool `json:"failed,omitempty"`
	// NotBefore is when to look at what is left.
	NotBefore ident.Millis `json:"notBefore,omitempty"`
	// Withdraw: the person seems not to see what it is about any more. Whether
	// that is so is judged when this is applied.
	Withdraw bool `json:"withdraw,omitempty"`
}

// DeadAddress is a device's push token that is of no use any more.
type DeadAddress struct {
	Device ident.DeviceID `json:"device"`
	Token  []byte         `json:"token"` // SHA-256 of it: the device may have another by now
}

// Address sets where the asking device is sent push messages, "" for nowhere.
type Address struct {
	Token string `json:"token"`
}
