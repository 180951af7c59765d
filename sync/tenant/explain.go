package tenant

import (
	"fmt"

	"satchel/internal/entity"
	"satchel/internal/policy"
)

// Explanation says why a person may or may not do something to a record. It
// tells of hidden clients and of denials, so it is for administrators.
type Explanation struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
	Role    string `json:"role,omitempty"`
	Clause  string `json:"clause,omitempty"`
	Denial  string `json:"denial,omitempty"`
	Words   string `json:"words"`
}

var reasonCodes = map[policy.Reason]string{
	policy.NoGrant: "no_grant", policy.Granted: "granted", policy.Hidden: "hidden_client", policy.Denying: "individual_denial",
	policy.Refusing: "clause_refuses", policy.Closed: "not_in_this_status", policy.Inactive: "person_not_active",
}

// Explain decides like apply does and puts the decision into words.
func (v *View) Explain(sub *policy.Subject, verb policy.Verb, rec *entity.Record) Explanation {
	d := sub.Decide(verb, rec, v.Reader)
	e := Explanation{Allowed: d.Allowed, Reason: reasonCodes[d.Reason], Role: d.Role, Clause: d.Clause, Denial: string(d.Denial)}
	what := fmt.Sprintf("%s of %s/%s", verb, rec.Type.Name, rec.ID)
	switch d.Reason {
	case policy.Granted:
		e.Words = fmt.Sprintf("Allowed: clause %s of role %s gives %s.", d.Clause, d.Role, what)
	case policy.Hidden:
		e.Words = fmt.Sprintf("Refused: client %s is hidden from this person; no role or grant changes that.", rec.Client())
	case policy.Denying:
		e.Words = fmt.Sprintf("Refused: individual permission %s denies %s.", d.Denial, what)
	case policy.Refusing:
		e.Words = fmt.Sprintf("Refused: clause %s says so, and no other role or grant gives %s.", d.Clause, what)
	case policy.Closed:
		e.Words = fmt.Sprintf("Refused: clause %s does not hold in the status that counts here (the record is %s).", d.Clause, rec.StatusText())
	case policy.Inactive:
		e.Words = "Refused: the person is not active."
	default:
		e.Words = fmt.Sprintf("Refused: no role or grant of this person gives %s.", what)
	}
	return e
}
