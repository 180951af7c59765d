package command

import "satchel/internal/ident"

// Erase takes what is kept of a person out of the state: of an employee, or of
// another record that stands for a person. It goes on in further entries by
// itself; handed in again it does the next part, or tells that nothing is left.
type Erase struct {
	Person ident.RecordID `json:"person"`
}

// Act leaves a row in the audit trail of something that an operator did outside
// the log, such as a backup. The system alone hands it in.
type Act struct {
	// Name is the command as it is typed, without its flags: "user invite".
	Name string `json:"name"`
	// By is the operator's account on the machine, as the machine or the
	// operator says.
	By string `json:"by"`
	// About is the record that it was about, "" for none.
	About ident.RecordID `json:"about,omitempty"`
}
