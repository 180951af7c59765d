package entity

import (
	"fmt"
	"slices"
)

// Edition is one version of the record types: what it brought that programs
// written for the version before don't know, and what it named anew. The first
// version is 1 and has no Edition; versions are dense.
type Edition struct {
	Version int
	// Fields are new fields by the name of their type; all fields of a type
	// that is new itself.
	Fields map[string][]string
	// Values are new values of enumerations, by "type.field".
	Values map[string][]string
	// Renamed are fields that got another name: "type.field" as it is called
	// now, and its name before.
	Renamed map[string]string
	// RenamedActions likewise, "type.action" as it is called now.
	RenamedActions map[string]string
	// Gone are actions, by "type.action" as they were called, that can't be
	// said any more in the words of this version.
	Gone []string
}

// Evolve declares the versions after the first, in their order. It is called
// once, before the catalogue is used. Errors are faults of the declaration: a
// gap in the numbers, an unknown type, field, value or action, a new value of
// an enumeration that has no fallback, or whose fallback is as new.
func (c *Catalogue) Evolve(editions ...Edition) error {
	newer := map[string][]string{}
	for i, e := range editions {
		if e.Version != i+2 {
			return fmt.Errorf("entity: edition %d stands where %d is due", e.Version, i+2)
		}
		for name, fields := range e.Fields {
			for _, f := range fields {
				if c.field(name+"."+f) == nil {
					return fmt.Errorf("entity: edition %d brings %s.%s, which is not there", e.Version, name, f)
				}
			}
		}
		for path, values := range e.Values {
			f := c.field(path)
			if f == nil || f.Kind != Enum {
				return fmt.Errorf("entity: edition %d has values of %s, which is no enumeration", e.Version, path)
			}
			for _, v := range values {
				if !slices.Contains(f.Values, v) {
					return fmt.Errorf("entity: edition %d brings %s %q, which is not there", e.Version, path, v)
				}
			}
			newer[path] = append(newer[path], values...)
		}
		for path := range e.Renamed {
			if c.field(path) == nil {
				return fmt.Errorf("entity: edition %d renames to %s, which is not there", e.Version, path)
			}
		}
		for path := range e.RenamedActions {
			typ, action, ok := cut(path)
			if t := c.Type(typ); !ok || t == nil || t.Action(action) == nil {
				return fmt.Errorf("entity: edition %d renames to the action %s, which is not there", e.Version, path)
			}
		}
	}
	for path, values := range newer {
		if f := c.field(path); f.Fallback == "" || slices.Contains(values, f.Fallback) {
			return fmt.Errorf("entity: %s has new values and no older one to fall back to", path)
		}
	}
	c.editions = editions
	return nil
}

func cut(path string) (typ, name string, ok bool) {
	for i := range len(path) {
		if path[i] == '.' {
			return path[:i], path[i+1:], true
		}
	}
	return "", "", false
}

func (c *Catalogue) field(path string) *Field {
	typ, name, ok := cut(path)
	if t := c.Type(typ); ok && t != nil {
		return t.Field(name)
	}
	return nil
}

// Edition returns the newest schema version.
func (c *Catalogue) Edition() int { return len(c.editions) + 1 }

// After returns the editions that a program written for the schema version
// doesn't know, oldest first; version 0 stands for the newest.
func (c *Catalogue) After(version int) []Edition {
	if version <= 0 || version > len(c.editions) {
		return nil
	}
	return c.editions[version-1:]
}

// NewerThan returns the fields of the type that a program written for the
// schema version doesn't know.
func (c *Catalogue) NewerThan(t *Type, version int) Mask {
	var m Mask
	for _, e := range c.After(version) {
		for _, name := range e.Fields[t.Name] {
			m |= 1 << t.Field(name).No
		}
	}
	return m
}
