package mutant

// Fault is one fault as the table has it.
type Fault struct {
	ID   ID     `json:"-"`
	Name string `json:"name"` // package and what goes wrong, as policy/skip-mask
	// Where is the file in which it is planted and the function, as
	// internal/policy/subject.go: Subject.View.
	Where  string `json:"where"`
	Broken string `json:"broken"` // what is wrong, in one line
	// Breaks is the invariant that it breaks, I1 to I6, and which kind of rule
	// upholds that.
	Breaks string `json:"breaks"`
	// Killers are the tests that must find it, the quickest first.
	Killers []Killer `json:"killers"`
}

// Killer is a test that fails where the fault is planted and passes where none
// is: some histories of the simulation, or one directed test.
type Killer struct {
	Kind    Kind   `json:"kind"`
	Package string `json:"package,omitempty"` // of a directed test, from the module's root
	Test    string `json:"test,omitempty"`    // its name
}

// Kind is a kind of killer.
type Kind string

// The kinds of killers.
const (
	Simulation Kind = "sim"   // satchel sim
	Twins      Kind = "twins" // satchel sim --twins
	Directed   Kind = "test"  // go test -run
)

// String names the killer for people: "sim", "twins", or package and test.
func (k Killer) String() string {
	if k.Kind == Directed {
		return k.Package + " " + k.Test
	}
	return string(k.Kind)
}
