// Package wire is what a phone and a server say to each other beside the sync
// protocol: the rules that travel with the records, and what a server is capable
// of. Servers and client packages share it; it imports nothing of Satchel. Names
// are fixed; members are only added, and whoever reads ignores those it does not
// know.
package wire

// The version of the protocol that this program speaks, and the oldest that a
// server of it still answers.
const (
	Protocol    = 1
	MinProtocol = 1
)

// Headers. A request without HeaderProtocol speaks version 1; HeaderNow is the
// phone's clock, RFC 3339, by which a time on the phone is put right.
const (
	HeaderProtocol = "Satchel-Protocol"
	HeaderNow      = "Satchel-Now"
	// HeaderPrefer and HeaderApplied are of RFC 7240. A server leaves alone what
	// it does not know of preferences.
	HeaderPrefer  = "Prefer"
	HeaderApplied = "Preference-Applied"
)

// Preferences of a device: PreferChanges of POST /sync/v1/pull and of the request
// that opens the live socket, PreferTouched of POST /sync/v1/pull, PreferDeferred of
// the request that opens the live socket.
const (
	// PreferChanges: of records that the device holds pages may have the changed
	// fields alone.
	PreferChanges = "fields=changed"
	// PreferTouched: a page that is a round by itself may name the digests of
	// only those types that it touched.
	PreferTouched = "digests=touched"
	// PreferDeferred: pages may say that their acknowledgement can wait.
	PreferDeferred = "acks=deferred"
)

// Capabilities says what a server speaks and can do; nobody has to be signed in
// to ask.
type Capabilities struct {
	Protocol Range `json:"protocol"`
	// Schema are the versions of the record types that it can speak in.
	Schema Range `json:"schema"`
	// Capabilities are names of what came after the first protocol; a client
	// that misses one does without.
	Capabilities []string `json:"capabilities"`
}

// Range is a span of versions, both ends included.
type Range struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Names of capabilities.
const (
	CapRules    = "rules"    // GET /sync/v1/rules
	CapLive     = "live"     // the live socket
	CapMobile   = "mobile"   // the Mobile Service Agent module
	CapWarnings = "warnings" // results and answers may carry warnings
	CapChanges  = "changes"  // the preferences PreferChanges and PreferTouched
)

// Rules are what a person may enter, for a device to tell them while they are
// still where the work is. The server decides all the same. They speak of types,
// fields and conditions, never of records: two people with the same rights have
// the same rules, whatever is hidden from them.
type Rules struct {
	// Version names the content; it changes when that does and not otherwise.
	Version string `json:"version"`
	Schema  int    `json:"schema"`
	// Field is what the field profile carries by itself, absent for those who
	// can't have it.
	Field *FieldProfile `json:"field,omitempty"`
	Types []TypeRules   `json:"types"`
	// Others are the types there are of which the person sees and writes
	// nothing.
	Others []string `json:"others,omitempty"`
}

// FieldProfile is the window of own work of a device that names none: from so
// many days before the tenant's present day to so many after it.
type FieldProfile struct {
	BackDays  int `json:"backDays"`
	AheadDays int `json:"aheadDays"`
}

// TypeRules are the rules of one type.
type TypeRules struct {
	Type string `json:"type"`
	// Fields are those the person can know of, in the order in which the server
	// looks at them.
	Fields     []FieldRules `json:"fields"`
	Archivable bool         `json:"archivable,omitempty"`
	NoDelete   bool         `json:"noDelete,omitempty"`
	// Create, Edit and Delete are the grants of those verbs: one that holds is
	// enough. None: it is refused.
	Create []Grant `json:"create,omitempty"`
	Edit   []Grant `json:"edit,omitempty"`
	Delete []Grant `json:"delete,omitempty"`
	// Through: records of the type may also be created by who has a further
	// right on the record they hang on.
	Through bool     `json:"through,omitempty"`
	Status  *Status  `json:"status,omitempty"`
	Actions []Action `json:"actions,omitempty"`
}

// FieldRules are the rules of a field, an argument or a line's member.
type FieldRules struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Required  bool     `json:"required,omitempty"`
	Immutable bool     `json:"immutable,omitempty"` // given at creation
	ReadOnly  bool     `json:"readOnly,omitempty"`  // set by actions and the system
	Max       int      `json:"max,omitempty"`       // characters, entries or lines
	Min       *int64   `json:"min,omitempty"`
	Values    []string `json:"values,omitempty"`
	Targets   []string `json:"targets,omitempty"`
	// Lines are the members of a list's lines; each has an id beside them.
	Lines []FieldRules `json:"lines,omitempty"`
	// Seen says of which records of the type the person sees the field.
	Seen string `json:"seen,omitempty"`
	// Filled: left out at creation, it is filled in, so that it is not missing
	// though required.
	Filled bool `json:"filled,omitempty"`
}

// Values of FieldRules.Seen; "" is never.
const (
	SeenAlways    = "always"
	SeenSometimes = "sometimes"
)

// Status is the lifecycle of a type.
type Status struct {
	Field   string   `json:"field"`
	Initial string   `json:"initial"`
	States  []string `json:"states"`
	// Follows are the types whose changes may move the status of records of
	// this one.
	Follows []string `json:"follows,omitempty"`
}

// Action is a named change of a record.
type Action struct {
	Name string       `json:"name"`
	From []string     `json:"from,omitempty"` // absent: any
	To   string       `json:"to,omitempty"`   // "": stays
	Args []FieldRules `json:"args,omitempty"`
	// Lacks are required arguments that the person can't give, because they are
	// written to fields that are not shown to them: it is refused for want of
	// them.
	Lacks []string `json:"lacks,omitempty"`
	// Assigns names the argument and field that receives a person.
	Assigns string `json:"assigns,omitempty"`
	// Writes are the fields beside the status that it may change; Derived says
	// that it may change more than is told here.
	Writes       []string `json:"writes,omitempty"`
	Derived      bool     `json:"derived,omitempty"`
	WhenArchived bool     `json:"whenArchived,omitempty"`
	// May are the person's grants of it; none: it is refused.
	May []Grant `json:"may,omitempty"`
}

// Grant is one right: it holds for a record that lies in its scope, while all
// of While and none of Unless hold.
type Grant struct {
	// Fields narrows it; absent for all fields of the type's list.
	Fields []string `json:"fields,omitempty"`
	// None: it reaches no field, only the record.
	None bool `json:"none,omitempty"`
	// Reach says in words whose records it reaches, Scope in a form that can be
	// judged as far as the device knows; absent for all records.
	Reach  string      `json:"reach"`
	Scope  *Scope      `json:"scope,omitempty"`
	While  []Condition `json:"while,omitempty"`
	Unless []Condition `json:"unless,omitempty"`
}

// Condition bounds a grant by the value of a field, "status", or one of the
// record that a field refers to, "activity.status".
type Condition struct {
	Path  string   `json:"path"`
	OneOf []string `json:"oneOf"`
}

// Scope is a set of records. What a device can't judge is ScopeOther.
type Scope struct {
	Op     string   `json:"op"`
	Field  string   `json:"field,omitempty"`
	Type   string   `json:"type,omitempty"`
	Values []string `json:"values,omitempty"`
	Of     []Scope  `json:"of,omitempty"`
}

// Operators of a Scope.
const (
	ScopeSelf  = "self"  // Field names the person, or "id" is the person's own record
	ScopeWhere = "where" // Field has one of Values
	ScopeAnd   = "and"   // in all of Of
	ScopeOr    = "or"    // in one of Of
	ScopeUnder = "under" // Field refers to a record of Type that lies in Of[0]
	ScopeOther = "other" // only the server knows
)
