package app

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

// readiness tells operators which tenants are not served and why; the main
// listener, which strangers reach, names none.
func (a *App) readiness(w http.ResponseWriter, _ *http.Request) {
	closed := a.tenants.Closed()
	status := http.StatusOK
	if len(closed) > 0 {
		status = fault.TenantStopped.Kind().Status()
	} else {
		closed = []Closed{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"closed": closed}) // whoever left needs no answer
}

// reopen looks through a tenant that is closed and opens it where it is sound.
func (a *App) reopen(w http.ResponseWriter, r *http.Request) {
	t, err := a.tenants.Reopen(r.Context(), ident.TenantID(r.PathValue("tenant")))
	if err != nil {
		refuse(w, err)
		return
	}
	a.acted(r, t, "tenant reopen")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"tenant": t.ID()}) // whoever left needs no answer
}

// closedTenants is a metric with a row for each tenant that is not served.
type closedTenants struct {
	tenants *Tenants
	desc    *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *closedTenants) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *closedTenants) Collect(ch chan<- prometheus.Metric) {
	for _, t := range c.tenants.Closed() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, string(t.Tenant), t.Why)
	}
}
