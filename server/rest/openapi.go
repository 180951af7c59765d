package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/sheet"
	"satchel/sync/audit"
)

// schema is a JSON object under construction; its members are written sorted,
// so that the document is the same every time.
type schema = map[string]any

func ref(kind, name string) schema { return schema{"$ref": "#/components/" + kind + "/" + name} }

// upper is a type's name as a schema's.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// document renders the OpenAPI 3.1 document of the whole HTTP interface: what
// this server mounted, and the sync and session addresses beside it.
func (s *Server) document() ([]byte, error) {
	schemas := schema{}
	for _, t := range s.cat.Types {
		schemas[upper(t.Name)] = recordSchema(t)
		schemas[upper(t.Name)+"Page"] = pageOf(ref("schemas", upper(t.Name)))
		schemas[upper(t.Name)+"Create"] = writeSchema(t, true)
		schemas[upper(t.Name)+"Patch"] = writeSchema(t, false)
	}
	for _, some := range []schema{sharedSchemas(), holderSchemas(), whatIfSchemas(), reviewSchemas(), quarantineSchemas(), mobileSchemas(), personSchemas()} {
		for name, sch := range some {
			schemas[name] = sch
		}
	}
	paths := schema{}
	for _, r := range s.routes {
		if r.Kind == Document {
			continue
		}
		if r.Same != "" {
			paths[r.Path] = schema{"$ref": "#/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(r.Same)}
			continue
		}
		item, _ := paths[r.Path].(schema)
		if item == nil {
			item = schema{}
			if strings.Contains(r.Path, "{id}") {
				item["parameters"] = []any{ref("parameters", "id")}
			}
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = operation(r)
	}
	for _, some := range []schema{fixedPaths(), signInPaths(), filePaths(s.cat), mobilePaths(s.cat)} {
		for path, item := range some {
			paths[path] = item
		}
	}
	doc := schema{
		"openapi": "3.1.0",
		"info": schema{
			"title": "Satchel", "version": "1",
			"description": "The module API, the synchronisation API and sign-in of Satchel. Errors are problem details (RFC 9457) with a stable code. " +
				"What a caller may not see is answered like what is not there.",
		},
		"servers":  []any{schema{"url": "/"}},
		"security": []any{schema{"accessToken": []any{}}},
		"paths":    paths,
		"components": schema{
			"securitySchemes": schema{"accessToken": schema{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
			"schemas":         schemas, "parameters": sharedParameters(), "responses": sharedResponses(), "headers": sharedHeaders(),
		},
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("rest: OpenAPI: %w", err)
	}
	return b, nil
}

// fieldSchema describes a field's values.
func fieldSchema(f *entity.Field) schema {
	length := func(otherwise int) int {
		if f.Max > 0 {
			return f.Max
		}
		return otherwise
	}
	var m schema
	switch f.Kind {
	case entity.String:
		m = schema{"type": "string", "maxLength": length(200)}
	case entity.Text:
		m = schema{"type": "string", "maxLength": length(20000)}
	case entity.Int:
		m = schema{"type": "integer", "minimum": int64(-1 << 53), "maximum": int64(1 << 53)}
		if f.Min != nil {
			m["minimum"] = *f.Min
		}
	case entity.Number:
		m = schema{"type": "number"}
	case entity.Bool:
		m = schema{"type": "boolean"}
	case entity.Time:
		m = schema{"type": "string", "format": "date-time"}
	case entity.Date:
		m = schema{"type": "string", "format": "date"}
	case entity.Enum:
		m = schema{"type": "string", "enum": f.Values}
		if f.Fallback != "" {
			m["x-fallback"] = f.Fallback
		}
	case entity.Ref:
		m = schema{"type": "string", "minLength": 8, "maxLength": ident.MaxIDLength, "pattern": idPattern}
		if len(f.Targets) > 0 {
			m["x-targets"] = f.Targets
		}
	case entity.Refs, entity.Strings:
		item := schema{"type": "string", "minLength": 1, "maxLength": 200}
		if f.Kind == entity.Refs {
			item = schema{"type": "string", "minLength": 8, "maxLength": ident.MaxIDLength, "pattern": idPattern}
		}
		m = schema{"type": "array", "items": item, "uniqueItems": true, "maxItems": length(1000)}
		if len(f.Targets) > 0 {
			m["x-targets"] = f.Targets
		}
	case entity.Money:
		m = ref("schemas", "Money")
	case entity.Point:
		m = ref("schemas", "Point")
	case entity.Lines:
		props := schema{"id": schema{"type": "string", "minLength": 1, "maxLength": ident.MaxIDLength}}
		required := []string{"id"}
		for _, it := range f.Items {
			props[it.Name] = fieldSchema(it)
			if it.Required {
				required = append(required, it.Name)
			}
		}
		m = schema{"type": "array", "maxItems": length(1000), "items": schema{
			"type": "object", "properties": props, "required": required, "additionalProperties": false,
		}}
	}
	return m
}

const idPattern = "^[a-z0-9][a-z0-9_-]*$"

// recordSchema describes a record as it is answered: a person sees of it what
// the roles held reach, so that hardly anything is certain to be there.
func recordSchema(t *entity.Type) schema {
	props := schema{
		"id":        schema{"type": "string", "readOnly": true},
		"rev":       schema{"type": "string", "readOnly": true, "description": "Names this version as the caller sees it; the ETag."},
		"context":   schema{"const": true, "readOnly": true, "description": "Shown beneath a parent only."},
		"updatedAt": schema{"type": "string", "format": "date-time", "readOnly": true},
		"updatedBy": schema{"type": "string", "readOnly": true},
	}
	for no := range uint8(64) {
		f := t.FieldNo(no)
		if f == nil {
			continue
		}
		sch := fieldSchema(f)
		if f.ReadOnly {
			sch["readOnly"] = true
		}
		if f.Facet != "" && f.Facet != entity.Core {
			sch["x-facet"] = f.Facet
		}
		props[f.Name] = sch
	}
	return schema{"type": "object", "properties": props, "required": []string{"id", "rev"}}
}

// writeSchema describes the body of a create or of a patch.
func writeSchema(t *entity.Type, create bool) schema {
	props := schema{}
	required := []string{}
	for _, f := range t.Fields {
		if f.ReadOnly || (!create && f.Immutable) {
			continue
		}
		sch := fieldSchema(f)
		if !create && (f.Kind == entity.Refs || f.Kind == entity.Strings) {
			change := fieldSchema(f)
			sch = schema{"oneOf": []any{sch, schema{
				"type": "object", "properties": schema{"add": change, "remove": change}, "additionalProperties": false, "minProperties": 1,
			}}}
		}
		if !f.Required {
			sch = schema{"anyOf": []any{sch, schema{"type": "null"}}}
		}
		props[f.Name] = sch
		if f.Required && create {
			required = append(required, f.Name)
		}
	}
	out := schema{"type": "object", "properties": props, "additionalProperties": false}
	if create {
		props["id"] = schema{"type": "string", "description": "Only on a device, beginning with the device's id prefix."}
		if len(required) > 0 {
			out["required"] = required
		}
	}
	return out
}

func jsonBody(of any) schema {
	return schema{"application/json": schema{"schema": of}}
}

// answers is the responses of an operation: the one that succeeds, and what
// any may answer.
func answers(status, description string, of any, refused ...string) schema {
	ok := schema{"description": description}
	if of != nil {
		ok["content"] = jsonBody(of)
	}
	m := schema{status: ok}
	for _, r := range append(refused, "401", "default") {
		m[r] = ref("responses", map[string]string{
			"304": "NotModified", "204": "Gone", "401": "Unauthenticated", "403": "Forbidden", "404": "NotFound", "409": "Conflict",
			"412": "Precondition", "422": "Unprocessable", "default": "Problem",
		}[r])
	}
	return m
}

// operation describes one route.
func operation(r Route) schema {
	op := schema{"operationId": operationID(r)}
	if r.Type != nil {
		op["tags"] = []string{string(r.App)}
	}
	params := func(names ...string) {
		var ps []any
		for _, n := range names {
			ps = append(ps, ref("parameters", n))
		}
		op["parameters"] = ps
	}
	tagged := func(status string) {
		op["responses"].(schema)[status].(schema)["headers"] = schema{"ETag": ref("headers", "ETag")}
	}
	switch r.Kind {
	case List, Children:
		t, summary := r.Type, "List"
		if r.Kind == Children {
			t, summary = r.Child, "List beneath a "+r.Type.Name
		}
		op["summary"] = fmt.Sprintf("%s: %s records", summary, t.Name)
		params("limit", "cursor", "sort", "filter", "q", "archived")
		if r.Kind == List {
			params("limit", "cursor", "sort", "filter", "q", "archived", "saved")
		}
		op["responses"] = answers("200", "A page.", ref("schemas", upper(t.Name)+"Page"), "403")
	case Table:
		op["summary"] = fmt.Sprintf("All %s records of a list as a table", r.Type.Name)
		params("format", "names", "bom", "sort", "filter", "q", "archived", "saved")
		table := schema{"schema": schema{"type": "string", "format": "binary"}}
		op["responses"] = answers("200", "The table, a record a row.", nil, "403")
		op["responses"].(schema)["200"] = schema{"description": "The table, a record a row.", "content": schema{
			"text/csv": table, sheet.ContentType(sheet.XLSX): table,
		}}
	case Assignees:
		op["summary"] = "Whom a " + r.Type.Name + " can be assigned to"
		params("q")
		plan := plannedFor(r.Type)
		if !strings.Contains(r.Path, "{id}") {
			params("q", "under")
			plan = plannedAnew(r.Type)
		}
		for _, name := range plan {
			op["parameters"] = append(op["parameters"].([]any), schema{
				"name": name, "in": "query", "schema": schema{"type": "string"},
				"description": "The " + name + " that the assignment is to be with, where not that of the record.",
			})
		}
		op["responses"] = answers("200", "People by name.", ref("schemas", "Assignees"), "403", "404")
	case Result:
		op["summary"] = "What a report comes to, with the rights of whoever asks"
		params("format", "names", "bom")
		op["responses"] = answers("200", "Groups and their totals.", ref("schemas", "ReportResult"), "403", "404")
	case Conflicts:
		op["summary"] = "Offline edits of a " + r.Type.Name + " that met somebody else's"
		op["description"] = "One's own, and those of fields that one may see and edit. The actions of /v1/me/conflicts settle them."
		op["parameters"] = []any{stateParameter(), ref("parameters", "limit"), ref("parameters", "cursor")}
		op["responses"] = answers("200", "A page.", pageOf(ref("schemas", "RecordConflict")), "404")
	case Get:
		op["summary"] = "One " + r.Type.Name
		params("ifNoneMatch")
		op["responses"] = answers("200", "The record.", ref("schemas", upper(r.Type.Name)), "304", "404")
		tagged("200")
	case Create:
		op["summary"] = "Create a " + r.Type.Name
		params("idempotencyKey")
		op["requestBody"] = schema{"required": true, "content": jsonBody(ref("schemas", upper(r.Type.Name)+"Create"))}
		op["responses"] = answers("201", "The record as the caller sees it.", ref("schemas", upper(r.Type.Name)), "204", "403", "422")
		tagged("201")
		op["responses"].(schema)["201"].(schema)["headers"].(schema)["Location"] = ref("headers", "Location")
	case Patch:
		op["summary"] = "Change fields of a " + r.Type.Name + "; null clears"
		params("ifMatch", "idempotencyKey")
		op["requestBody"] = schema{"required": true, "content": jsonBody(ref("schemas", upper(r.Type.Name)+"Patch"))}
		op["responses"] = answers("200", "The record.", ref("schemas", upper(r.Type.Name)), "204", "403", "404", "409", "412", "422")
		tagged("200")
	case Delete:
		op["summary"] = "Delete a " + r.Type.Name
		params("ifMatch", "idempotencyKey")
		op["responses"] = answers("204", "It is gone.", nil, "403", "404", "409", "412")
	case Action:
		a := r.Type.Action(string(r.Verb))
		op["summary"] = fmt.Sprintf("%s a %s", a.Name, r.Type.Name)
		if a.From != nil {
			op["description"] = "From: " + strings.Join(a.From, ", ") + "."
		}
		params("ifMatch", "idempotencyKey")
		args, need := argumentSchema(a)
		if r.Type.Name == typeConflict && len(a.Args) > 0 {
			args, need = schema{
				"type": "object", "required": []string{"value"}, "additionalProperties": false,
				"properties": schema{"value": schema{"description": "A value of the kind of the field in conflict."}},
			}, true
		}
		op["requestBody"] = schema{"required": need, "content": jsonBody(args)}
		op["responses"] = answers("200", "The record.", ref("schemas", upper(r.Type.Name)), "204", "403", "404", "409", "412", "422")
		tagged("200")
	case Bulk:
		a := r.Type.Action(string(r.Verb))
		op["summary"] = fmt.Sprintf("%s many %s records, each judged on its own", a.Name, r.Type.Name)
		args, _ := argumentSchema(a)
		args["properties"].(schema)["ids"] = schema{
			"type": "array", "minItems": 1, "maxItems": maxBulk, "uniqueItems": true, "items": schema{"type": "string"},
		}
		required, _ := args["required"].([]string)
		args["required"] = append([]string{"ids"}, required...)
		params("idempotencyKey")
		op["requestBody"] = schema{"required": true, "content": jsonBody(args)}
		op["responses"] = answers("200", "An answer for each id.", ref("schemas", "BulkResults"))
	case Personal, Admin, Document:
		alone(r, op)
	}
	return op
}

// alone describes the routes that are of no type.
func alone(r Route, op schema) {
	query := func(name string, required bool, about string) schema {
		return schema{"name": name, "in": "query", "required": required, "description": about, "schema": schema{"type": "string"}}
	}
	asked := []any{
		query("action", true, "view, create, edit, delete, comment or an action of the type"),
		query("type", true, "name of a type"), query("id", false, "id of the record; may be left out for create"),
	}
	pages := []any{ref("parameters", "limit"), ref("parameters", "cursor")}
	switch r.Path {
	case "/v1/me":
		op["summary"] = "Who I am, and what there is to open"
		op["responses"] = answers("200", "The caller.", ref("schemas", "Me"))
	case "/v1/explain":
		op["summary"] = "Whether I may do something, and why"
		op["parameters"] = asked
		op["responses"] = answers("200", "The decision.", ref("schemas", "Explanation"), "404")
	case "/v1/admin/explain":
		op["summary"] = "Whether somebody may do something, and why"
		op["parameters"] = append([]any{query("principal", true, "id of the employee")}, asked...)
		op["responses"] = answers("200", "The decision.", ref("schemas", "Explanation"), "403", "404")
	case "/v1/admin/holders":
		op["summary"] = "Which devices have records of a client, or of which clients devices have any, since when, and whether removals were acknowledged"
		op["description"] = "One of client, device and employee is to be given."
		op["parameters"] = append([]any{
			query("client", false, "id of the client"), query("device", false, "id of the device"), query("employee", false, "id of the employee, for all devices"),
		}, pages...)
		op["responses"] = answers("200", "A page.", pageOf(ref("schemas", "Holder")), "403", "404")
	case "/v1/admin/what-if":
		op["summary"] = "What a change would bring to people and their devices, and take from them; nothing is written"
		op["description"] = "A page is of people, sorted by id, with their devices. Only people and devices for whom something changes are told of."
		op["parameters"] = pages
		op["requestBody"] = schema{"required": true, "content": jsonBody(ref("schemas", "WhatIf"))}
		op["responses"] = answers("200", "What would change, or why the change would be refused.", ref("schemas", "WhatIfAnswer"), "403", "422")
	case "/v1/admin/access-review":
		op["summary"] = "What a person may do and by what, or who sees a client"
		op["description"] = "By employee or client; without either, everybody. As a table it has no pages."
		op["parameters"] = append([]any{
			query("employee", false, "id of the employee"), query("client", false, "id of the client"),
			schema{"name": "format", "in": "query", "description": "json is the default", "schema": schema{"type": "string", "enum": []string{"json", sheet.CSV, sheet.XLSX}}},
		}, pages...)
		op["responses"] = answers("200", "A page.", schema{"oneOf": []any{pageOf(ref("schemas", "Review")), ref("schemas", "ClientReviewPage")}}, "403", "404")
		for _, f := range []string{sheet.CSV, sheet.XLSX} {
			op["responses"].(schema)["200"].(schema)["content"].(schema)[sheet.ContentType(f)] = schema{"schema": schema{"type": "string"}}
		}
	case "/v1/admin/audit":
		op["summary"] = "Who did what when, newest first"
		op["description"] = "A page may be short, even empty, and yet have a next: a request reads a bounded part of the trail. " +
			"Of a record that is named all its changes are found at once; sign-ins and the like are no changes of a record."
		op["parameters"] = append([]any{
			query("record", false, "id of a record, one that is gone included"), query("type", false, "name of a type"),
			query("actor", false, "id of the employee who did it, or system"), query("client", false, "id of the client that the record belonged to"),
			query("op", false, "an operation or the name of an action"),
			query("from", false, "the first instant"), query("to", false, "the instant before which it was done"),
		}, pages...)
		op["responses"] = answers("200", "A page.", pageOf(ref("schemas", "AuditRow")), "403", "404")
	case "/v1/admin/audit/head":
		op["summary"] = "The end of the audit trail, to be kept elsewhere"
		op["description"] = "satchel verify --head tells later whether the trail up to there is still what it was. Refused to administrators from whom clients are hidden."
		op["responses"] = answers("200", "The head.", ref("schemas", "AuditHead"), "403", "404")
	default:
		if !aboutPersons(r, op) {
			aboutQuarantine(r, op, pages)
		}
	}
}

func pageOf(item any) schema {
	return schema{
		"type": "object", "required": []string{"items"},
		"properties": schema{
			"items": schema{"type": "array", "items": item},
			"next":  schema{"type": "string", "description": "Cursor of the next page; absent on the last."},
		},
	}
}

func operationID(r Route) string {
	p := strings.NewReplacer("/v1/", "", "{id}", "one", "/", "_", ":", "_", "-", "_", ".", "_").Replace(r.Path)
	return strings.ToLower(r.Method) + "_" + strings.Trim(p, "_")
}

// argumentSchema describes an action's body, and whether there must be one.
func argumentSchema(a *entity.Action) (schema, bool) {
	props := schema{}
	var required []string
	for _, f := range a.Args {
		props[f.Name] = fieldSchema(f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	m := schema{"type": "object", "properties": props, "additionalProperties": false}
	if required != nil {
		m["required"] = required
	}
	return m, required != nil
}

// sharedParameters are those that many operations take.
func sharedParameters() schema {
	p := func(name, in string, of schema, about string) schema {
		return schema{"name": name, "in": in, "required": in == "path", "schema": of, "description": about}
	}
	text := schema{"type": "string"}
	return schema{
		"id":     p("id", "path", text, "The record's id."),
		"limit":  p("limit", "query", schema{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}, "Records a page."),
		"cursor": p("cursor", "query", text, "The next of the page before, with the same other parameters."),
		"sort":   p("sort", "query", text, "Up to 4 fields, joined by commas; - before one for descending. Records without a value come last. Texts sort without regard to case."),
		"filter": p("filter", "query", schema{"type": "string", "maxLength": maxFilter},
			"Conditions joined by and: field op value. op is eq, ne, lt, le, gt, ge, in, contains or null. A value with spaces stands in double quotes; in takes (a, \"b c\"); "+
				"null may be followed by true or false. eq and in on a set ask for a member. Sums of money compare by minor units; enumerations by their order. "+
				"ne holds where there is no value. id and updatedAt can be used too."),
		"q":              p("q", "query", schema{"type": "string", "maxLength": maxSearch}, "Words; each must stand in some searched field."),
		"archived":       p("archived", "query", schema{"type": "boolean", "default": false}, "Whether archived records are included."),
		"ifMatch":        p("If-Match", "header", text, "The ETag that the record must still have, or *."),
		"ifNoneMatch":    p("If-None-Match", "header", text, "An ETag; 304 where it still stands."),
		"format":         p("format", "query", schema{"type": "string", "enum": []string{"csv", "xlsx", "json"}}, "Of a list csv (the default) or xlsx; of a report json (the default) as well."),
		"names":          p("names", "query", schema{"type": "boolean"}, "Put the name of what a reference names beside its id."),
		"bom":            p("bom", "query", schema{"type": "boolean", "default": true}, "Of a CSV: begin with a byte order mark, by which spreadsheets know it for UTF-8. Programs say false."),
		"under":          p("under", "query", schema{"type": "string"}, "The id of the record that the new one will belong to."),
		"saved":          p("saved", "query", schema{"type": "string"}, "The id of a filter to run, with the caller's rights; filter and q add to its conditions."),
		"idempotencyKey": p("Idempotency-Key", "header", schema{"type": "string", "maxLength": maxKeyLength}, "A repeated request with the same key is done once; kept for 24 hours."),
		"prefer": p("Prefer", "header", text, "RFC 7240. fields=changed: records that the device holds may come as their changed fields. digests=touched, of a pull: "+
			"a page that is a round by itself may name the digests of those types alone that it touches. acks=deferred, of the socket: pages whose "+
			"acknowledgement can wait say so (ack), and the next follow without it. Preference-Applied says what was followed."),
		"contentEncoding": p("Content-Encoding", "header", schema{"const": "identity"}, "Compressed bodies are refused."),
	}
}

func sharedHeaders() schema {
	h := func(about string) schema {
		return schema{"description": about, "schema": schema{"type": "string"}}
	}
	return schema{"ETag": h("The quoted rev."), "Location": h("Where the record stands.")}
}

func sharedResponses() schema {
	p := func(about string) schema {
		return schema{"description": about, "content": schema{"application/problem+json": schema{"schema": ref("schemas", "Problem")}}}
	}
	return schema{
		"NotModified":     schema{"description": "The ETag still stands."},
		"Gone":            schema{"description": "Done; the caller does not see the record any more."},
		"Unauthenticated": p("The access token is missing, expired or of a session that has ended."),
		"Forbidden":       p("The caller may not do this."),
		"NotFound":        p("There is no such record, or none for the caller."),
		"Conflict":        p("The record's state does not allow it."),
		"Precondition":    p("The record has changed since."),
		"Unprocessable":   p("A value does not fit."),
		"Problem":         p("Refused."),
	}
}

// sharedSchemas are those of no type.
func sharedSchemas() schema {
	var codes []string
	words := schema{}
	fault.Codes(func(c fault.Code, k fault.Kind, text string) {
		codes = append(codes, string(c))
		words[string(c)] = fmt.Sprintf("%d: %s", k.Status(), text)
	})
	slices.Sort(codes)
	text, whole, flag := schema{"type": "string"}, schema{"type": "integer"}, schema{"type": "boolean"}
	when := schema{"type": "string", "format": "date-time"}
	obj := func(required []string, props schema) schema {
		m := schema{"type": "object", "properties": props}
		if required != nil {
			m["required"] = required
		}
		return m
	}
	list := func(of any) schema { return schema{"type": "array", "items": of} }
	fields := schema{"type": "object", "additionalProperties": true}
	pointer := obj([]string{"type", "id"}, schema{"type": text, "id": text})
	summary := obj([]string{"count", "digest"}, schema{"count": whole, "digest": schema{"type": "string", "pattern": "^[0-9a-f]{64}$"}})
	types := obj([]string{"types"}, schema{"types": schema{"type": "object", "additionalProperties": ref("schemas", "Summary")}})
	named := obj([]string{"id"}, schema{"id": text, "name": text})
	mutation := schema{
		"n": schema{"type": "integer", "minimum": 1}, "op": schema{"enum": []string{"create", "patch", "delete", "action"}},
		"type": text, "id": text, "fields": fields, "was": fields, "action": text, "args": fields, "after": list(whole), "at": when,
	}
	return schema{
		"Money": schema{
			"type": "object", "required": []string{"amount", "currency"}, "additionalProperties": false,
			"properties": schema{
				"amount":   schema{"type": "integer", "description": "Minor units."},
				"currency": schema{"type": "string", "pattern": "^[A-Z]{3}$"},
			},
		},
		"Point": schema{
			"type": "object", "required": []string{"lat", "lng"}, "additionalProperties": false,
			"properties": schema{
				"lat": schema{"type": "number", "minimum": -90, "maximum": 90}, "lng": schema{"type": "number", "minimum": -180, "maximum": 180},
			},
		},
		"Problem": obj([]string{"type", "title", "status", "code"}, schema{
			"type": text, "title": text, "status": whole, "detail": text, "field": text, "wipe": flag, "code": ref("schemas", "ProblemCode"),
		}),
		"ProblemCode": schema{"type": "string", "enum": codes, "x-descriptions": words},
		"BulkResults": obj([]string{"results"}, schema{"results": list(ref("schemas", "BulkResult"))}),
		"BulkResult": obj([]string{"id", "status"}, schema{
			"id": text, "status": schema{"enum": []string{"applied", "refused"}}, "code": ref("schemas", "ProblemCode"), "message": text,
			"records": schema{
				"type": "array", "items": ref("schemas", "BulkResult"),
				"description": "Of an action that is done for the id to other records, as a tag is attached: an answer for each of those. It is applied where one of them is.",
			},
		}),
		"Assignees": obj([]string{"items"}, schema{
			"items": list(obj([]string{"id"}, schema{"id": text, "name": text})), "more": flag,
		}),
		"ReportResult": obj([]string{"groups", "total"}, schema{
			"groups": list(obj([]string{"by", "count"}, schema{
				"by":     schema{"type": "object", "description": "The value of each grouping, null for none."},
				"names":  schema{"type": "object", "description": "With names: what references among them name, as far as it is seen."},
				"count":  whole,
				"totals": schema{"type": "object", "description": "Of money an amount in minor units by currency; otherwise a number or a text, null for none."},
			})),
			"total": obj([]string{"count"}, schema{"count": whole, "totals": schema{"type": "object"}}),
		}),
		"Me": obj([]string{"principal", "roles", "apps"}, schema{
			"principal": obj([]string{"id", "name", "kind"}, schema{"id": text, "name": text, "kind": text, "client": text}),
			"roles":     list(text),
			"apps":      list(obj([]string{"app", "menu"}, schema{"app": schema{"enum": entity.Apps}, "menu": list(text)})),
		}),
		"Explanation": obj([]string{"principal", "action", "type", "allowed", "reason", "text"}, schema{
			"principal": text, "action": text, "type": text, "id": text, "allowed": flag,
			"reason": schema{"enum": []string{"granted", "no_grant", "refused", "closed", "denied", "hidden", "inactive", "context"}},
			"role":   text, "clause": text, "denial": text, "for": text, "visibility": text, "scope": text,
			"near": list(obj([]string{"role", "clause", "scope"}, schema{
				"role": text, "clause": text, "scope": text,
			})),
			"status": schema{"enum": []string{"archived", "wrong_status"}}, "text": text,
		}),
		"Named": named,
		"AuditHead": obj([]string{"head", "rows"}, schema{
			"head": schema{"type": "string", "pattern": "^[0-9a-f]{64}@[0-9]+$"}, "rows": whole,
		}),
		"AuditRow": obj([]string{"at", "op", "record"}, schema{
			"at":     when,
			"doneAt": schema{"type": "string", "format": "date-time", "description": "When it was done on the phone, by its clock put right; absent where it was done at once."},
			"op":     schema{"enum": audit.Ops()},
			"name":   schema{"type": "string", "description": "Of an action its name, of a sign-in device where the device is new, of a refusal its code."},
			"actor":  ref("schemas", "Named"), "for": ref("schemas", "Named"), "device": ref("schemas", "Named"), "client": ref("schemas", "Named"),
			"record": obj(nil, schema{"type": text, "id": text, "name": text}),
			"values": schema{"enum": []string{"notKept", "erased"}, "description": "Why the changes have no values; absent where they do."},
			"changes": list(obj([]string{"field"}, schema{
				"field": text, "before": schema{"description": "null for no value"}, "after": schema{"description": "null for no value"},
			})),
		}),
		"Ref": pointer, "Summary": summary, "Types": types,
		"Mutation": obj([]string{"n", "op", "type", "id", "at"}, mutation),
		"Pull": schema{"type": "object", "additionalProperties": false, "properties": schema{
			"checkpoint": schema{"type": []string{"string", "null"}}, "limit": schema{"type": "integer", "minimum": 1, "maximum": 10000},
			"profile": schema{"enum": []string{"office", "field"}}, "window": obj([]string{"from", "to"}, schema{"from": when, "to": when}),
			"pins": list(ref("schemas", "Ref")), "schema": whole, "reconcile": ref("schemas", "Types"), "heal": list(text),
		}},
		"Record": obj([]string{"type", "id", "rev", "fields"}, schema{"type": text, "id": text, "rev": text, "context": schema{"const": true}, "fields": fields, "check": schema{
			"type": "string", "pattern": "^[0-9a-f]{8}$",
			"description": "The fields are only those that may have changed, null for what was cleared. This is the checksum of the record that they come to: the sum, modulo 2^32, of the first four bytes, the highest first, of the SHA-256 of each of its members, `\"name\":value` as in pages.",
		}}),
		"Page": obj([]string{"from", "checkpoint", "removed", "records", "processed", "more"}, schema{
			"from": text, "checkpoint": text, "removed": list(ref("schemas", "Ref")), "records": list(ref("schemas", "Record")),
			"processed": whole, "more": flag, "reset": flag, "resetTypes": list(text), "complete": ref("schemas", "Types"), "rules": text, "mobileEnded": flag,
		}),
		"Push": schema{
			"type": "object", "required": []string{"acked", "now", "mutations"}, "additionalProperties": false,
			"properties": schema{"acked": whole, "now": when, "schema": whole, "mutations": schema{"type": "array", "maxItems": 500, "items": ref("schemas", "Mutation")}},
		},
		"Result": obj([]string{"n", "status"}, schema{
			"n": whole, "status": schema{"enum": []string{"applied", "conflict", "refused"}}, "code": ref("schemas", "ProblemCode"), "message": text, "rev": text,
			"conflicts": list(obj([]string{"field", "mine", "theirs"}, schema{"field": text, "mine": schema{}, "theirs": schema{}, "conflict": text})),
			"warnings":  list(ref("schemas", "Warning")),
		}),
		"Results":  obj([]string{"results", "processed"}, schema{"results": list(ref("schemas", "Result")), "processed": whole}),
		"Verified": obj([]string{"ok"}, schema{"ok": flag, "types": list(text)}),
		"Login": schema{
			"type": "object", "required": []string{"tenant", "email", "password"}, "additionalProperties": false,
			"properties": schema{"tenant": text, "email": text, "password": text, "device": schema{
				"type": "object", "required": []string{"installation", "incarnation"}, "additionalProperties": false,
				"properties": schema{"installation": text, "incarnation": text, "name": text, "platform": text, "pushToken": text},
			}},
		},
		"SignedIn": obj([]string{"accessToken", "refreshToken", "expiresIn", "user"}, schema{
			"accessToken": text, "refreshToken": text, "expiresIn": schema{"type": "integer", "description": "Seconds."},
			"user": fields, "device": obj([]string{"id", "idPrefix"}, schema{"id": text, "idPrefix": text}),
		}),
	}
}

// fixedPaths are the addresses of the sync and session interfaces.
func fixedPaths() schema {
	post := func(id, tag, summary, in, out string) schema {
		op := schema{"operationId": id, "tags": []string{tag}, "summary": summary}
		if in != "" {
			op["requestBody"] = schema{"required": true, "content": jsonBody(ref("schemas", in))}
		}
		if out == "" {
			op["responses"] = answers("204", "Done.", nil)
		} else {
			op["responses"] = answers("200", "The answer.", ref("schemas", out))
		}
		return op
	}
	open := func(op schema) schema {
		op["security"] = []any{}
		return op
	}
	health := func(id, summary string) schema {
		return schema{"get": open(schema{
			"operationId": id, "tags": []string{"operation"}, "summary": summary,
			"responses": schema{"200": schema{"description": "Yes."}, "503": schema{"description": "No."}},
		})}
	}
	pull := post("pull", "sync", "The device's next page; acknowledges the one whose checkpoint it bears", "Pull", "Page")
	pull["parameters"] = []any{ref("parameters", "prefer")}
	refreshed := post("refresh", "session", "Replace a refresh token", "", "SignedIn")
	refreshed["requestBody"] = schema{"required": true, "content": jsonBody(schema{
		"type": "object", "required": []string{"refreshToken"},
		"properties": schema{"refreshToken": schema{"type": "string"}, "nonce": schema{"type": "string"}},
	})}
	return schema{
		"/v1/auth/login":   schema{"post": open(post("login", "session", "Sign in, on a device or without", "Login", "SignedIn"))},
		"/v1/auth/refresh": schema{"post": open(refreshed)},
		"/v1/auth/logout":  schema{"post": post("logout", "session", "End the session", "", "")},
		"/sync/v1/pull":    schema{"post": pull},
		"/sync/v1/push":    schema{"post": post("push", "sync", "Offline work, in order", "Push", "Results")},
		"/sync/v1/verify":  schema{"post": post("verify", "sync", "Compare what the device holds", "Types", "Verified")},
		"/sync/v1/push-token": schema{"put": schema{
			"operationId": "pushToken", "tags": []string{"sync"}, "summary": "Where this device is woken, as the platform's push service has it",
			"requestBody": schema{"required": true, "content": jsonBody(schema{
				"type": "object", "required": []string{"pushToken"}, "additionalProperties": false,
				"properties": schema{"pushToken": schema{"type": []string{"string", "null"}, "description": "null: by nobody any more"}},
			})},
			"responses": answers("204", "It is noted.", nil, "403", "422"),
		}},
		"/sync/v1/live": schema{"get": schema{
			"operationId": "live", "tags": []string{"sync"}, "summary": "WebSocket with the pages of pull and the results of push as frames",
			"parameters": []any{ref("parameters", "prefer")},
			"responses":  schema{"101": schema{"description": "Switched to WebSocket."}, "default": ref("responses", "Problem")},
		}},
		"/v1/unsubscribe/{wish}": schema{
			"parameters": []any{schema{"name": "wish", "in": "path", "required": true, "schema": schema{"type": "string"}, "description": "As it stands in the mail."}},
			"get": schema{
				"operationId": "unsubscribePage", "tags": []string{"session"}, "summary": "A page with a button; nothing is changed", "security": []any{},
				"responses": schema{"200": schema{"description": "The page."}, "default": ref("responses", "Problem")},
			},
			"post": schema{
				"operationId": "unsubscribe", "tags": []string{"session"}, "summary": "Take the mail's receiver off such mail", "security": []any{},
				"responses": schema{"200": schema{"description": "It is noted."}, "default": ref("responses", "Problem")},
			},
		},
		"/healthz": health("healthz", "Whether the process lives"),
		"/readyz":  health("readyz", "Whether it takes requests"),
	}
}

// serveOpenAPI answers the document.
func (s *Server) serveOpenAPI(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(s.openapi)
}
