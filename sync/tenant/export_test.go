package tenant

// Unforeseen has no page computed before it is asked for until restored.
func Unforeseen() (restore func()) {
	for range cap(places) {
		places <- struct{}{}
	}
	return func() {
		for range cap(places) {
			<-places
		}
	}
}
