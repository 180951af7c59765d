package client

import (
	"fmt"
	"slices"
	"time"

	"satchel/sync/wire"
)

// Sync profiles.
const (
	// ProfileOffice delivers all that the person may view and list.
	ProfileOffice = "office"
	// ProfileField delivers own work within the window, what belongs to it,
	// and what is pinned; it needs the Mobile module.
	ProfileField = "field"
)

// settings are what the device asks for. Each has the version at which it was
// last changed; what is newer than Acked goes along with the next pull.
type settings struct {
	Version uint64 `json:"version"`
	Acked   uint64 `json:"acked"`

	Profile  string       `json:"profile,omitempty"`
	ProfileV uint64       `json:"profileV,omitempty"`
	Window   *wire.Window `json:"window,omitempty"`
	WindowV  uint64       `json:"windowV,omitempty"`
	Pins     []wire.Ref   `json:"pins,omitempty"`
	PinsV    uint64       `json:"pinsV,omitempty"`
	Schema   int          `json:"schema,omitempty"`
	SchemaV  uint64       `json:"schemaV,omitempty"`
}

func readSettings(t tx) (s settings, err error) {
	err = getJSON(t, keySettings, &s)
	return s, err
}

// into adds to a pull what the server has not confirmed.
func (s *settings) into(req *wire.Pull) {
	if s.ProfileV > s.Acked {
		req.Profile = s.Profile
	}
	if s.WindowV > s.Acked {
		req.Window = s.Window
	}
	if s.PinsV > s.Acked {
		pins := s.Pins
		if pins == nil {
			pins = []wire.Ref{}
		}
		req.Pins = &pins
	}
	if s.SchemaV > s.Acked {
		req.Schema = s.Schema
	}
}

// ackSettings notes that the server has taken the settings up to version.
func ackSettings(t tx, version uint64) error {
	s, err := readSettings(t)
	if err != nil || version <= s.Acked {
		return err
	}
	s.Acked = version
	return putJSON(t, keySettings, s)
}

// resendSettings makes every setting go along again, for a device that the
// server does not know or may have forgotten.
func resendSettings(t tx, rename map[string]string) error {
	s, err := readSettings(t)
	if err != nil {
		return err
	}
	s.Acked = 0
	for i := range s.Pins {
		if to, ok := rename[s.Pins[i].ID]; ok {
			s.Pins[i].ID = to
		}
	}
	return putJSON(t, keySettings, s)
}

func (p *Phone) set(change func(*settings) error) error {
	err := p.st.update(func(t tx) error { return changeSettings(t, change) })
	if err == nil {
		p.poke()
	}
	return err
}

func changeSettings(t tx, change func(*settings) error) error {
	s, err := readSettings(t)
	if err != nil {
		return err
	}
	s.Version++
	if err := change(&s); err != nil {
		return err
	}
	return putJSON(t, keySettings, s)
}

func (p *Phone) noteSchema(t tx) error {
	s, err := readSettings(t)
	if err != nil || s.Schema == p.opts.Schema {
		return err
	}
	return changeSettings(t, func(s *settings) error {
		s.Schema, s.SchemaV = p.opts.Schema, s.Version
		return nil
	})
}

// SetProfile chooses what the device syncs: ProfileOffice or ProfileField. It
// takes effect with the next pull.
func (p *Phone) SetProfile(profile string) error {
	if profile != ProfileOffice && profile != ProfileField {
		return fmt.Errorf("client: %q is no sync profile", profile)
	}
	return p.set(func(s *settings) error {
		s.Profile, s.ProfileV = profile, s.Version
		return nil
	})
}

// SetWindow bounds a field device's own work by scheduled time. It takes
// effect with the next pull.
func (p *Phone) SetWindow(from, to time.Time) error {
	if !from.Before(to) {
		return fmt.Errorf("client: a window from %s to %s holds nothing", from, to)
	}
	return p.set(func(s *settings) error {
		s.Window = &wire.Window{From: from.UTC().Format(timeFormat), To: to.UTC().Format(timeFormat)}
		s.WindowV = s.Version
		return nil
	})
}

// Pin asks for a record that the profile alone would not bring, with what
// belongs to it. It takes effect with the next pull.
func (p *Phone) Pin(typ, id string) error {
	if err := checkRef(typ, id); err != nil {
		return err
	}
	return p.set(func(s *settings) error {
		if ref := (wire.Ref{Type: typ, ID: id}); !slices.Contains(s.Pins, ref) {
			s.Pins, s.PinsV = append(s.Pins, ref), s.Version
		}
		return nil
	})
}

// Unpin takes a pin back.
func (p *Phone) Unpin(typ, id string) error {
	return p.set(func(s *settings) error {
		if i := slices.Index(s.Pins, wire.Ref{Type: typ, ID: id}); i >= 0 {
			s.Pins, s.PinsV = slices.Delete(s.Pins, i, i+1), s.Version
		}
		return nil
	})
}

// Pins returns what is pinned.
func (p *Phone) Pins() ([]wire.Ref, error) {
	var out []wire.Ref
	err := p.st.view(func(t tx) error {
		s, err := readSettings(t)
		out = s.Pins
		return err
	})
	return out, err
}
