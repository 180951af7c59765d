package strictjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// maxFields bounds the fields of one struct, embedded ones included.
const maxFields = 256

// op is how a Go type is filled.
type op uint8

const (
	opInvalid op = iota
	opStruct
	opString
	opRaw         // json.RawMessage
	opRawMap      // map[string]json.RawMessage
	opUint        // every unsigned size
	opInt         // every signed size
	opSlice       //
	opArray       //
	opMap         // string keys
	opPointer     //
	opBool        //
	opFloat       //
	opBytes       // base64
	opNumber      // json.Number
	opText        // encoding.TextUnmarshaler
	opUnmarshaler // json.Unmarshaler
	opAny         // interface without methods
)

// plan is what Decode knows of a type, made once per type.
type plan struct {
	op     op
	t      reflect.Type
	elem   *plan
	fields []field
	index  map[string]int
	err    error // of this type or one within it
}

type field struct {
	name string
	path []int // through embedded structs
	plan *plan
}

var plans sync.Map // reflect.Type -> *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := builder{}
	p := b.of(t)
	if b.err != nil {
		p = &plan{t: t, err: b.err}
	}
	kept, _ := plans.LoadOrStore(t, p)
	return kept.(*plan)
}

// builder makes the plans that one type needs; a type within itself finds its
// own plan in the map.
type builder struct {
	made map[reflect.Type]*plan
	err  error
}

var (
	rawType         = reflect.TypeFor[json.RawMessage]()
	rawMapType      = reflect.TypeFor[map[string]json.RawMessage]()
	rawMapPointer   = reflect.TypeFor[*map[string]json.RawMessage]()
	numberType      = reflect.TypeFor[json.Number]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textType        = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (b *builder) of(t reflect.Type) *plan {
	if p, ok := b.made[t]; ok {
		return p
	}
	if b.made == nil {
		b.made = map[reflect.Type]*plan{}
	}
	p := &plan{t: t}
	b.made[t] = p
	switch {
	case t == rawType:
		p.op = opRaw
		return p
	case t == numberType:
		p.op = opNumber
		return p
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(unmarshalerType):
		p.op = opUnmarshaler
		return p
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textType):
		p.op = opText
		return p
	}
	switch t.Kind() {
	case reflect.Bool:
		p.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.op = opUint
	case reflect.Float32, reflect.Float64:
		p.op = opFloat
	case reflect.String:
		p.op = opString
	case reflect.Struct:
		p.op = opStruct
		b.fields(p)
	case reflect.Pointer:
		p.op, p.elem = opPointer, b.of(t.Elem())
	case reflect.Array:
		p.op, p.elem = opArray, b.of(t.Elem())
	case reflect.Slice:
		if p.elem = b.of(t.Elem()); t.Elem().Kind() == reflect.Uint8 && p.elem.op == opUint {
			p.op = opBytes
		} else {
			p.op = opSlice
		}
	case reflect.Map:
		switch {
		case t.ConvertibleTo(rawMapType) && t.Elem() == rawType && t.Key() == rawMapType.Key():
			p.op = opRawMap
		case t.Key().Kind() == reflect.String && !reflect.PointerTo(t.Key()).Implements(textType):
			p.op, p.elem = opMap, b.of(t.Elem())
		default:
			b.refuse("%v: map keys must be plain strings", t)
		}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			b.refuse("%v: an interface with methods can't be filled", t)
		}
		p.op = opAny
	default:
		b.refuse("%v: no JSON for this type", t)
	}
	return p
}

func (b *builder) refuse(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("strictjson: "+format, args...)
	}
}

// fields lists a struct's fields, those of embedded structs after its own
// level: of two with the same name the outer one counts, two on one level are
// refused.
func (b *builder) fields(p *plan) {
	type level struct {
		t    reflect.Type
		path []int
	}
	p.index = map[string]int{}
	for now := []level{{p.t, nil}}; len(now) > 0; {
		var deeper []level
		outer := len(p.fields)
		for _, l := range now {
			for i := range l.t.NumField() {
				f := l.t.Field(i)
				path := append(append(make([]int, 0, len(l.path)+1), l.path...), i)
				name, tagged, quoted := tagName(f)
				switch {
				case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
					deeper = append(deeper, level{f.Type, path})
					continue
				case f.Anonymous && !tagged && f.Type.Kind() == reflect.Pointer:
					b.refuse("%v.%s: embedded pointers are not supported", l.t, f.Name)
					continue
				case !f.IsExported() || name == "":
					continue
				case quoted:
					b.refuse("%v.%s: the string option is not supported", l.t, f.Name)
					continue
				}
				if have, ok := p.index[name]; ok {
					if have >= outer {
						b.refuse("%v: two fields named %q", p.t, name)
					}
					continue
				}
				p.index[name] = len(p.fields)
				p.fields = append(p.fields, field{name: name, path: path})
			}
		}
		now = deeper
	}
	if len(p.fields) > maxFields {
		b.refuse("%v: more than %d fields", p.t, maxFields)
	}
	for i := range p.fields {
		f := &p.fields[i]
		f.plan = b.of(p.t.FieldByIndex(f.path).Type)
	}
}

// tagName returns the JSON name of a field, "" where it is left out, and
// whether the tag gave it.
func tagName(f reflect.StructField) (name string, tagged, quoted bool) {
	tag, ok := f.Tag.Lookup("json")
	if ok && tag == "-" {
		return "", true, false
	}
	name, options, _ := strings.Cut(tag, ",")
	for o := range strings.SplitSeq(options, ",") {
		quoted = quoted || o == "string"
	}
	if name != "" {
		return name, true, quoted
	}
	return f.Name, false, quoted
}
