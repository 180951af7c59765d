package strictjson

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"

	"satchel/internal/fault"
)

// Decode reads data into a pointer to a struct, or to anything else that
// encoding/json could fill: its field names and tags, embedded structs,
// pointers, slices, maps with string keys, json.RawMessage, json.Unmarshaler
// and encoding.TextUnmarshaler mean here what they mean there. The default
// Limits hold.
//
// Beyond what Check refuses, it refuses keys that no field of the struct at
// that level has exactly, letter for letter (fault.UnknownField), and values
// that don't fit their field (fault.BadValue). The error's Field is the path,
// as in mutations[3].op. null leaves a struct member as if it were absent; it
// is refused as element of an array, value of a map and whole text where the
// Go type has no nil.
//
// Slices, maps and pointers in into are replaced, never merged into. Nothing
// in into refers to data afterwards, but all RawMessages share one copy of it.
// After an error the contents of into are unspecified. A Go type that can't
// be filled is fault.InternalError.
func Decode(data []byte, into any) error { return DecodeWithin(data, into, Limits{}) }

// DecodeWithin is Decode with other Limits.
func DecodeWithin(data []byte, into any, lim Limits) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fault.New(fault.InternalError).Because(errors.New("strictjson: into must be a non-nil pointer"))
	}
	p := planOf(v.Type().Elem())
	if p.err != nil {
		return fault.New(fault.InternalError).Because(p.err)
	}
	d := decoder{scanner: newScanner(data, lim)}
	defer d.release()
	if err := d.value(v.Elem(), p, false); err != nil {
		return err
	}
	return d.end()
}

// decoder reads and judges in one pass: the scanner checks whatever it steps
// over, so nothing needs to be looked at twice.
type decoder struct {
	*scanner
	copied bool // data is the decoder's own
}

func badValue(words string) error { return fault.Newf(fault.BadValue, "%s", words) }

// at puts one step of the path before what the error's Field holds so far.
func at(step string, err error) error {
	e := fault.Of(err)
	switch {
	case e.Field == "" || e.Code == fault.InternalError:
		e.Field = step
	case e.Field[0] == '[':
		e.Field = step + e.Field
	default:
		e.Field = step + "." + e.Field
	}
	return e
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// value reads one value into v. absent says that null may stand for absence.
func (d *decoder) value(v reflect.Value, p *plan, absent bool) error {
	c := d.space()
	if c == 'n' && p.op != opRaw && p.op != opUnmarshaler && p.op != opAny && d.null() {
		switch {
		case p.op == opPointer || p.op == opMap || p.op == opRawMap || p.op == opSlice || p.op == opBytes:
			v.SetZero()
		case !absent:
			return badValue("The value can't be null.")
		}
		return nil
	}
	switch p.op {
	case opStruct:
		return d.object(v, p)
	case opString:
		s, err := d.stringValue(c)
		if err == nil {
			v.SetString(s)
		}
		return err
	case opRaw:
		raw, err := d.ownRaw()
		if err == nil {
			v.SetBytes(raw)
		}
		return err
	case opRawMap:
		return d.rawMap(v)
	case opUint, opInt:
		return d.integer(v, p.op)
	case opSlice:
		return d.slice(v, p)
	case opArray:
		return d.array(v, p)
	case opMap:
		return d.mapping(v, p)
	case opPointer:
		fresh := reflect.New(p.elem.t)
		if err := d.value(fresh.Elem(), p.elem, absent); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	case opBool:
		return d.boolean(v)
	case opFloat:
		return d.float(v)
	case opBytes:
		s, err := d.stringValue(c)
		if err != nil {
			return err
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return badValue("The value must be base64.")
		}
		v.SetBytes(b)
		return nil
	case opNumber:
		if c != '-' && !isDigit(c) {
			return d.mismatch("a number")
		}
		text, _, err := d.number()
		if err == nil {
			v.SetString(string(text))
		}
		return err
	case opText:
		s, err := d.stringValue(c)
		if err != nil {
			return err
		}
		return asBadValue(v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)))
	case opUnmarshaler:
		raw, err := d.ownRaw()
		if err != nil {
			return err
		}
		return asBadValue(v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw))
	case opAny:
		raw, err := d.raw()
		if err != nil {
			return err
		}
		v.SetZero() // json.Unmarshal would fill a pointer it finds in there
		return asBadValue(json.Unmarshal(raw, v.Addr().Interface()))
	default: // planOf refused the type before anything was read
		return fault.New(fault.InternalError)
	}
}

// asBadValue keeps a type's own refusal and covers any other error.
func asBadValue(err error) error {
	var e *fault.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return fault.New(fault.BadValue).Because(err)
}

// mismatch refuses the value at pos, which should have been something else:
// as malformed where it is no JSON at all.
func (d *decoder) mismatch(what string) error {
	if err := d.skipValue(); err != nil {
		return err
	}
	return badValue("The value must be " + what + ".")
}

// ownRaw is raw from the decoder's own copy of the data, made once.
func (d *decoder) ownRaw() (json.RawMessage, error) {
	if !d.copied {
		d.data = append(make([]byte, 0, len(d.data)), d.data...)
		d.copied = true
	}
	return d.raw()
}

func (d *decoder) stringValue(c byte) (string, error) {
	if c != '"' {
		return "", d.mismatch("a string")
	}
	text, escaped, err := d.str()
	if err != nil {
		return "", err
	}
	if !escaped {
		return d.words.get(d.text(text)), nil
	}
	n := len(d.arena)
	d.arena = appendUnescaped(d.arena, d.text(text))
	s := d.words.get(d.arena[n:])
	d.arena = d.arena[:n]
	return s, nil
}

func (d *decoder) boolean(v reflect.Value) error {
	c := d.data[d.pos:]
	if len(c) == 0 || c[0] != 't' && c[0] != 'f' {
		return d.mismatch("true or false")
	}
	if err := d.literal(); err != nil {
		return err
	}
	v.SetBool(c[0] == 't')
	return nil
}

func (d *decoder) integer(v reflect.Value, op op) error {
	if c := d.space(); c != '-' && !isDigit(c) {
		return d.mismatch("a whole number")
	}
	text, integer, err := d.number()
	if err != nil {
		return err
	}
	if !integer {
		return badValue("The value must be a whole number.")
	}
	if op == opInt {
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return badValue("The number is too large or too small.")
		}
		v.SetInt(n)
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || v.OverflowUint(n) {
		return badValue("The number is too large or too small.")
	}
	v.SetUint(n)
	return nil
}

func (d *decoder) float(v reflect.Value) error {
	if c := d.space(); c != '-' && !isDigit(c) {
		return d.mismatch("a number")
	}
	text, _, err := d.number()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(text), v.Type().Bits())
	if err != nil {
		return badValue("The number is too large or too small.")
	}
	v.SetFloat(f)
	return nil
}

func (d *decoder) object(v reflect.Value, p *plan) error {
	if d.space() != '{' {
		return d.mismatch("an object")
	}
	if err := d.enter(); err != nil {
		return err
	}
	var seen [maxFields / 64]uint64
	arena, guess := len(d.arena), 0
	for n := 0; ; n++ {
		span, more, err := d.member(n)
		if err != nil || !more {
			return err
		}
		key := d.text(span)
		// Senders mostly keep the order of the declaration.
		i, known := guess, guess < len(p.fields) && p.fields[guess].name == string(key)
		if !known {
			if i, known = p.index[string(key)]; !known {
				k := clip(key)
				return fault.Newf(fault.UnknownField, "There is no field %q here.", k).OnField(k)
			}
		}
		if seen[i/64]&(1<<(i%64)) != 0 {
			return d.duplicate(key)
		}
		seen[i/64] |= 1 << (i % 64)
		d.arena = d.arena[:arena]
		guess = i + 1
		f := &p.fields[i]
		target := v
		for _, step := range f.path {
			target = target.Field(step)
		}
		if err := d.value(target, f.plan, true); err != nil {
			return at(f.name, err)
		}
	}
}

func (d *decoder) slice(v reflect.Value, p *plan) error {
	if d.space() != '[' {
		return d.mismatch("an array")
	}
	if err := d.enter(); err != nil {
		return err
	}
	// Grown in a slice of its own: reflect's append to v would keep what v
	// held before.
	list := reflect.New(p.t).Elem()
	for n := 0; ; n++ {
		more, err := d.next(n, ']')
		if err != nil {
			return at(index(n), err)
		}
		if !more {
			break
		}
		if n == list.Cap() {
			list.Grow(max(4, n))
		}
		list.SetLen(n + 1)
		if err := d.value(list.Index(n), p.elem, false); err != nil {
			return at(index(n), err)
		}
	}
	if list.IsNil() {
		list = reflect.MakeSlice(p.t, 0, 0)
	}
	v.Set(list)
	return nil
}

func (d *decoder) array(v reflect.Value, p *plan) error {
	if d.space() != '[' {
		return d.mismatch("an array")
	}
	if err := d.enter(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := d.next(n, ']')
		if err != nil {
			return at(index(n), err)
		}
		if !more && n == v.Len() {
			return nil
		}
		if !more || n == v.Len() {
			return badValue("The array must have " + strconv.Itoa(v.Len()) + " elements.")
		}
		if err := d.value(v.Index(n), p.elem, false); err != nil {
			return at(index(n), err)
		}
	}
}

// rawMap is mapping for map[string]json.RawMessage, where the hot path of a
// push spends its time.
func (d *decoder) rawMap(v reflect.Value) error {
	if d.space() != '{' {
		return d.mismatch("an object")
	}
	if err := d.enter(); err != nil {
		return err
	}
	m := make(map[string]json.RawMessage)
	arena := len(d.arena)
	for n := 0; ; n++ {
		key, more, err := d.member(n)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		name := d.names.get(d.text(key))
		d.arena = d.arena[:arena]
		raw, err := d.ownRaw()
		if err != nil {
			return at(clip([]byte(name)), err)
		}
		m[name] = raw
		if len(m) != n+1 {
			return d.duplicate([]byte(name))
		}
	}
	*v.Addr().Convert(rawMapPointer).Interface().(*map[string]json.RawMessage) = m
	return nil
}

func (d *decoder) mapping(v reflect.Value, p *plan) error {
	if d.space() != '{' {
		return d.mismatch("an object")
	}
	if err := d.enter(); err != nil {
		return err
	}
	m := reflect.MakeMap(p.t)
	key := reflect.New(p.t.Key()).Elem()
	arena := len(d.arena)
	for n := 0; ; n++ {
		span, more, err := d.member(n)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		name := d.names.get(d.text(span))
		d.arena = d.arena[:arena]
		key.SetString(name)
		elem := reflect.New(p.elem.t).Elem()
		if err := d.value(elem, p.elem, false); err != nil {
			return at(clip([]byte(name)), err)
		}
		m.SetMapIndex(key, elem)
		if m.Len() != n+1 {
			return d.duplicate([]byte(name))
		}
	}
	v.Set(m)
	return nil
}
