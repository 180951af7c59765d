package oracle

// stockEverything: all but the sales representatives look at everything in
// Stock.
func stockEverything(w *World, _ *person, r *Record) []reach { return w.everything("stock", r) }

// stockTerritory: sales representatives look at Stock within their areas, and
// at the catalogue, which lies in none. What is ordered from suppliers is no
// catalogue.
func stockTerritory(w *World, p *person, r *Record) []reach {
	return w.within(p, "stock", r, "product", "productRelationship", "warehouse", "carrier", "supplier")
}
