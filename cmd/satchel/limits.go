package main

import (
	"fmt"
	"time"

	"satchel/internal/app"
	"satchel/server/session/limit"
)

// limitSettings bound what people who have signed in may ask for. What is left
// out keeps its default.
type limitSettings struct {
	// Off turns the limits of people, devices and addresses off: for measuring.
	Off bool `json:"off"`

	Read    *quotaSettings `json:"read"`
	Write   *quotaSettings `json:"write"`
	Sync    *quotaSettings `json:"sync"`
	Changes *quotaSettings `json:"changes"` // mutations, however pushed
	Export  *quotaSettings `json:"export"`
	Upload  *quotaSettings `json:"upload"`
	Address *rateSettings  `json:"address"`

	// Connections at once, of all and of one address; SocketsPerPerson are live
	// devices.
	Connections        int `json:"connections"`
	AddressConnections int `json:"addressConnections"`
	SocketsPerPerson   int `json:"socketsPerPerson"`
}

// quotaSettings are the rates of a class, of a person with all devices and of
// one device.
type quotaSettings struct {
	Person *rateSettings `json:"person"`
	Device *rateSettings `json:"device"`
}

// rateSettings are so many at once, and so many each second afterwards.
type rateSettings struct {
	Burst     int     `json:"burst"`
	PerSecond float64 `json:"perSecond"`
}

// maxPerSecond is the highest rate; what is to be without bound is turned off.
const maxPerSecond = 1e6

func (r *rateSettings) into(name string, to *limit.Rate) error {
	if r == nil {
		return nil
	}
	if r.Burst < 1 || r.PerSecond <= 0 || r.PerSecond > maxPerSecond {
		return usageError{fmt.Errorf("limits: %s: burst from 1, perSecond above 0 and up to %d", name, int(maxPerSecond))}
	}
	*to = limit.Rate{Burst: r.Burst, Every: time.Duration(float64(time.Second) / r.PerSecond)}
	return nil
}

// limits sets the limits' part of the configuration.
func limits(in *limitSettings, to *app.Config) error {
	if in == nil {
		return nil
	}
	q := limit.DefaultQuotas()
	q.Off = in.Off
	if err := in.Address.into("address", &q.Site); err != nil {
		return err
	}
	for class, from := range map[limit.Class]*quotaSettings{
		limit.Read: in.Read, limit.Write: in.Write, limit.Sync: in.Sync, limit.Changes: in.Changes, limit.Export: in.Export, limit.Upload: in.Upload,
	} {
		if from == nil {
			continue
		}
		if err := from.Person.into(class.String()+" of a person", &q.Of[class].Person); err != nil {
			return err
		}
		if err := from.Device.into(class.String()+" of a device", &q.Of[class].Device); err != nil {
			return err
		}
	}
	if err := q.Check(); err != nil {
		return usageError{err}
	}
	if in.Connections < 0 || in.AddressConnections < 0 || in.SocketsPerPerson < 0 {
		return usageError{fmt.Errorf("limits: a number is less than nothing")}
	}
	to.Quotas, to.PersonSockets = &q, in.SocketsPerPerson
	to.Connections = app.Connections{All: in.Connections, Address: in.AddressConnections}
	return nil
}
