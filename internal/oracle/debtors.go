package oracle

// debtorsEverything: administrators and operations look at everything in
// Debtors, and as in Billing at the products that the lines of invoices name.
func debtorsEverything(w *World, _ *person, r *Record) []reach {
	if r.Type.Name == "product" {
		return []reach{{fields: w.opened(r.Type, "core", "debtors"), named: true}}
	}
	return w.everything("debtors", r)
}
