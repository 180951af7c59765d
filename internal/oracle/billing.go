package oracle

// billingEverything: administrators, agents and guests look at everything in
// Billing, and at the products that its lines name.
func billingEverything(w *World, _ *person, r *Record) []reach {
	if r.Type.Name == "product" {
		return []reach{{fields: w.opened(r.Type, "core", "billing"), named: true}}
	}
	return w.everything("billing", r)
}

// billingTerritory: sales representatives look at Billing within their areas,
// and at products, which lie in none.
func billingTerritory(w *World, p *person, r *Record) []reach {
	return w.within(p, "billing", r, "product")
}
