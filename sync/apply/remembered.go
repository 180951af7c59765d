package apply

// remembered is what was read or computed of people or devices, by id. What is
// asked for again stays when the rest goes, so that a crowd larger than what is
// kept makes nobody pay for all of it at once. The zero value is empty.
type remembered[K comparable, V any] struct {
	young, old map[K]V // none is in both
}

// get returns what is remembered under a key, the zero value for nothing.
func (m *remembered[K, V]) get(k K) (v V, ok bool) {
	if v, ok = m.young[k]; ok {
		return v, true
	}
	if v, ok = m.old[k]; ok {
		m.put(k, v)
	}
	return v, ok
}

func (m *remembered[K, V]) put(k K, v V) {
	if m.young == nil {
		m.young = map[K]V{}
	}
	delete(m.old, k)
	m.young[k] = v
}

func (m *remembered[K, V]) drop(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

// forget drops everything.
func (m *remembered[K, V]) forget() { m.young, m.old = nil, nil }

// trim begins a new round once more than n were asked for in this one, and drops
// what was last asked for in the round before. It is called between rounds of
// get and put, in which nothing goes.
func (m *remembered[K, V]) trim(n int) {
	if len(m.young) > n {
		m.young, m.old = nil, m.young
	}
}
