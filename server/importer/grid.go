package importer

import "math"

// Grid is a transverse Mercator projection on the GRS 80 ellipsoid, as the
// plane coordinates of surveys and of the US states use it.
type Grid struct {
	// Latitude and Longitude of the origin, in degrees.
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Scale     float64 `json:"scale"` // on the central meridian
	// FalseEasting and FalseNorthing of the origin, in metres.
	FalseEasting  float64 `json:"falseEasting"`
	FalseNorthing float64 `json:"falseNorthing"`
	Unit          float64 `json:"unit"` // of x and y, in metres
}

// GRS 80.
const (
	semiMajor = 6378137.0
	flatten   = 1 / 298.257222101
)

// degrees turns plane coordinates back into latitude and longitude, to within
// centimetres some degrees around the origin, by the usual series in the
// footpoint latitude.
func (g *Grid) degrees(x, y float64) (lat, lng float64) {
	e2 := flatten * (2 - flatten)
	ep2 := e2 / (1 - e2)
	arc := func(phi float64) float64 {
		e4, e6 := e2*e2, e2*e2*e2
		return semiMajor * ((1-e2/4-3*e4/64-5*e6/256)*phi -
			(3*e2/8+3*e4/32+45*e6/1024)*math.Sin(2*phi) +
			(15*e4/256+45*e6/1024)*math.Sin(4*phi) -
			(35*e6/3072)*math.Sin(6*phi))
	}
	rad := math.Pi / 180
	m := arc(g.Latitude*rad) + (y*g.Unit-g.FalseNorthing)/g.Scale
	mu := m / (semiMajor * (1 - e2/4 - 3*e2*e2/64 - 5*e2*e2*e2/256))
	e1 := (1 - math.Sqrt(1-e2)) / (1 + math.Sqrt(1-e2))
	phi := mu + (3*e1/2-27*math.Pow(e1, 3)/32)*math.Sin(2*mu) +
		(21*e1*e1/16-55*math.Pow(e1, 4)/32)*math.Sin(4*mu) +
		(151*math.Pow(e1, 3)/96)*math.Sin(6*mu)
	s, c, t := math.Sin(phi), math.Cos(phi), math.Tan(phi)
	c1, t1 := ep2*c*c, t*t
	n := semiMajor / math.Sqrt(1-e2*s*s)
	r := semiMajor * (1 - e2) / math.Pow(1-e2*s*s, 1.5)
	d := (x*g.Unit - g.FalseEasting) / (n * g.Scale)
	lat = phi - n*t/r*(d*d/2-(5+3*t1+10*c1-4*c1*c1-9*ep2)*math.Pow(d, 4)/24+
		(61+90*t1+298*c1+45*t1*t1-252*ep2-3*c1*c1)*math.Pow(d, 6)/720)
	lng = g.Longitude*rad + (d-(1+2*t1+c1)*math.Pow(d, 3)/6+
		(5-2*c1+28*t1-3*c1*c1+8*ep2+24*t1*t1)*math.Pow(d, 5)/120)/c
	return lat / rad, lng / rad
}
