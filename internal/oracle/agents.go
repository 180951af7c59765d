package oracle

// agentsEverything: accounting administrators look at everything in Agents,
// and at the clients that agents look after: what all apps know of them, and
// neither their contacts nor their sites.
func agentsEverything(w *World, _ *person, r *Record) []reach {
	if r.Type.Name == "client" {
		return []reach{{fields: w.opened(r.Type, "core", "agents"), named: true}}
	}
	return w.everything("agents", r)
}
