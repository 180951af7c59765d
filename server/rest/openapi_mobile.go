package rest

import (
	"strings"

	"satchel/internal/entity"
)

// mobileSchemas are what the Mobile module and the rules speak in.
func mobileSchemas() schema {
	text, flag, whole := schema{"type": "string"}, schema{"type": "boolean"}, schema{"type": "integer"}
	when := schema{"type": "string", "format": "date-time"}
	list := func(of any) schema { return schema{"type": "array", "items": of} }
	obj := func(required []string, props schema) schema {
		o := schema{"type": "object", "properties": props}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	span := obj([]string{"min", "max"}, schema{"min": whole, "max": whole})
	record := func(typ string) schema { return ref("schemas", upper(typ)) }
	visit := schema{
		"activity": record("jobActivity"), "job": record("job"), "client": record("client"), "site": record("site"),
		"contact": record("contact"), "asset": record("asset"),
	}
	everything := schema{
		"checklists": list(obj([]string{"checklist", "answers"}, schema{
			"checklist": record("checklist"), "answers": list(record("checklistAnswer")),
		})),
		"timeEntries": list(record("timeEntry")), "partsUsed": list(record("partUsed")), "signatures": list(record("signature")),
		"documents": list(record("document")), "comments": list(record("comment")), "assetHistory": list(record("jobActivity")),
	}
	for name, of := range visit {
		everything[name] = of
	}
	ticket := schema{
		"ticket": record("ticket"), "client": record("client"), "site": record("site"), "contact": record("contact"), "asset": record("asset"),
		"updates": list(record("ticketUpdate")), "documents": list(record("document")),
	}
	rule := list(ref("schemas", "FieldRules"))
	grants := list(ref("schemas", "RuleGrant"))
	condition := obj([]string{"path", "oneOf"}, schema{"path": text, "oneOf": list(text)})
	return schema{
		"Warning":    obj([]string{"code", "message"}, schema{"code": schema{"enum": []string{"double_booked"}}, "message": text, "from": when, "to": when}),
		"Slot":       obj([]string{"from", "to"}, schema{"from": when, "to": when}),
		"Visit":      obj([]string{"activity"}, visit),
		"WholeVisit": obj([]string{"activity"}, everything),
		"Schedule": obj([]string{"from", "to", "activities", "unscheduled"}, schema{
			"from": when, "to": when, "activities": list(ref("schemas", "Visit")), "unscheduled": list(ref("schemas", "Visit")),
		}),
		"TicketView": obj([]string{"ticket"}, ticket),
		"TicketList": obj([]string{"items"}, schema{"items": list(ref("schemas", "TicketView")), "more": flag}),
		"Candidates": obj([]string{"from", "to", "items"}, schema{
			"from": when, "to": when, "items": list(obj([]string{"id", "name", "free", "busy"}, schema{
				"id": text, "name": text, "free": flag, "busy": list(ref("schemas", "Slot")), "off": list(ref("schemas", "Slot")),
			})),
		}),
		"Dispatch": obj([]string{"from", "to", "queue", "agents"}, schema{
			"from": when, "to": when, "queue": list(ref("schemas", "Visit")), "more": flag,
			"agents": list(obj([]string{"agent", "activities", "busy"}, schema{
				"agent": record("serviceAgent"), "activities": list(ref("schemas", "Visit")), "busy": list(ref("schemas", "Slot")),
				"off": list(ref("schemas", "Slot")),
			})),
		}),
		"Capabilities": obj([]string{"protocol", "schema", "capabilities"}, schema{"protocol": span, "schema": span, "capabilities": list(text)}),
		"Rules": obj([]string{"version", "schema", "types"}, schema{
			"version": text, "schema": whole, "field": obj([]string{"backDays", "aheadDays"}, schema{"backDays": whole, "aheadDays": whole}),
			"types": list(ref("schemas", "TypeRules")), "others": list(text),
		}),
		"TypeRules": obj([]string{"type", "fields"}, schema{
			"type": text, "fields": rule, "archivable": flag, "noDelete": flag, "create": grants, "edit": grants, "delete": grants, "through": flag,
			"status": obj([]string{"field", "initial", "states"}, schema{"field": text, "initial": text, "states": list(text), "follows": list(text)}),
			"actions": list(obj([]string{"name"}, schema{
				"name": text, "from": list(text), "to": text, "args": rule, "lacks": list(text), "assigns": text, "writes": list(text), "derived": flag,
				"whenArchived": flag, "may": grants,
			})),
		}),
		"FieldRules": obj([]string{"name", "kind"}, schema{
			"name": text, "kind": text, "required": flag, "immutable": flag, "readOnly": flag, "max": whole, "min": whole, "values": list(text),
			"targets": list(text), "lines": rule, "seen": schema{"enum": []string{"always", "sometimes"}}, "filled": flag,
		}),
		"RuleGrant": obj([]string{"reach"}, schema{
			"fields": list(text), "none": flag, "reach": text, "scope": ref("schemas", "RuleScope"), "while": list(condition), "unless": list(condition),
		}),
		"RuleScope": obj([]string{"op"}, schema{
			"op": schema{"enum": []string{"self", "where", "and", "or", "under", "other"}}, "field": text, "type": text,
			"values": list(text), "of": list(ref("schemas", "RuleScope")),
		}),
	}
}

// mobilePaths are the addresses of the Mobile module, of the rules and of what
// a server is capable of.
func mobilePaths(cat *entity.Catalogue) schema {
	id := []any{ref("parameters", "id")}
	query := func(name, description string) schema {
		return schema{"name": name, "in": "query", "description": description, "schema": schema{"type": "string"}}
	}
	get := func(op, summary, out string, params ...any) schema {
		o := schema{
			"operationId": op, "tags": []string{"mobile"}, "summary": summary,
			"responses": answers("200", "The answer.", ref("schemas", out), "403", "404"),
		}
		if len(params) > 0 {
			o["parameters"] = params
		}
		return o
	}
	post := func(op, summary, status, typ string, in schema) schema {
		o := schema{
			"operationId": op, "tags": []string{"mobile"}, "summary": summary,
			"responses": answers(status, "The record as its author sees it, with warnings where there are any.", ref("schemas", upper(typ)), "403", "404", "409", "412", "422"),
		}
		if in != nil {
			o["requestBody"] = schema{"content": jsonBody(in)}
		}
		return o
	}
	// body is the properties of some fields and arguments, with the times of the
	// phone beside them.
	body := func(fields ...*entity.Field) schema {
		props := schema{
			"at":  schema{"type": "string", "format": "date-time", "description": "When it was done, by the phone's clock."},
			"now": schema{"type": "string", "format": "date-time", "description": "The phone's clock when it sends; Satchel-Now in a header does the same."},
		}
		for _, f := range fields {
			props[f.Name] = fieldSchema(f)
		}
		return schema{"type": "object", "properties": props}
	}
	// of is the fields of a type that are written beneath another record.
	of := func(typ string, without ...string) schema {
		var fields []*entity.Field
		for _, f := range cat.Type(typ).Fields {
			if !f.ReadOnly && !strings.Contains(" "+strings.Join(without, " ")+" ", " "+f.Name+" ") {
				fields = append(fields, f)
			}
		}
		return body(fields...)
	}
	date := query("date", "YYYY-MM-DD; the present day where absent")
	zone := query("zone", "Time zone whose days are meant, such as Europe/Berlin; UTC where absent")
	capabilities := func(op string) schema {
		o := get(op, "What the server speaks and can do", "Capabilities")
		o["security"] = []any{}
		return schema{"get": o}
	}
	rules := get("rules", "What the person may enter, for the device to check by itself", "Rules")
	rules["tags"] = []string{"sync"}
	rules["responses"] = answers("200", "The rules; the ETag is their version.", ref("schemas", "Rules"), "304", "403")
	out := schema{
		"/sync/v1/rules":          schema{"get": rules},
		"/sync/v1/capabilities":   capabilities("capabilities"),
		"/mobile/v1/capabilities": capabilities("mobileCapabilities"),
		"/mobile/v1/me/day":       schema{"get": get("mobileDay", "Own activities of a day, with what belongs to them", "Schedule", date, zone)},
		"/mobile/v1/me/week": schema{"get": get("mobileWeek", "Own activities of seven days", "Schedule",
			query("from", "YYYY-MM-DD; the present day where absent"), zone)},
		"/mobile/v1/dispatch":        schema{"get": get("mobileDispatch", "What waits, and each agent's day", "Dispatch", date, zone)},
		"/mobile/v1/activities/{id}": schema{"parameters": id, "get": get("mobileActivity", "An activity with all that belongs to it", "WholeVisit")},
		"/mobile/v1/tickets": schema{
			"get": get("mobileTickets", "One's own tickets and those of the clients one is onsite for", "TicketList",
				query("which", "mine or onsite; both where absent"), query("done", "true adds what is over")),
			"post": post("mobileOpenTicket", "Open a ticket", "201", "ticket", of("ticket")),
		},
		"/mobile/v1/tickets/{id}": schema{"parameters": id, "get": get("mobileTicket", "A ticket with its conversation", "TicketView")},
		"/mobile/v1/tickets/{id}/assignees": schema{"parameters": id, "get": get("mobileAssignees",
			"Whom it can be assigned to, and when they are taken", "Candidates", query("from", "RFC 3339; now where absent"), query("to", "RFC 3339; a day later where absent"))},
	}
	act := func(plural, typ string, names ...string) {
		for _, name := range names {
			out["/mobile/v1/"+plural+"/{id}/"+name] = schema{"parameters": id, "post": post(
				"mobile"+upper(typ)+upper(strings.ReplaceAll(name, "-", "")), "Action "+name+" of a "+typ, "200", typ,
				body(cat.Type(typ).Action(name).Args...))}
		}
	}
	act("activities", "jobActivity", "assign", "unassign", "accept", "travel", "arrive", "start", "pause", "resume", "await-parts", "clear")
	act("tickets", "ticket", "assign", "unassign", "request-update", "start", "wait", "resolve", "close", "reopen")
	for _, one := range []struct {
		path, op, summary, typ string
		in                     schema
	}{
		{"activities/{id}/time-entries", "mobileTime", "Record time", "timeEntry", of("timeEntry", "activity")},
		{"activities/{id}/parts", "mobilePart", "Record a part, from the own van unless said", "partUsed", of("partUsed", "activity")},
		{"activities/{id}/checklist-answers", "mobileAnswer", "Answer an item of a checklist, or change the answer (200)", "checklistAnswer", of("checklistAnswer", "activity")},
		{"activities/{id}/signature", "mobileSignature", "Record a signature", "signature", of("signature", "activity")},
		{"activities/{id}/comments", "mobileComment", "Comment on an activity", "comment", of("comment", "parent")},
		{"activities/{id}/documents", "mobileDocument", "Hang a document on an activity; its bytes go to /files/", "document", of("document", "parent")},
		{"tickets/{id}/reply", "mobileReply", "Write on a ticket, for everybody on it unless it says internal", "ticketUpdate", of("ticketUpdate", "ticket", "kind")},
		{"tickets/{id}/documents", "mobileTicketDocument", "Hang a document on a ticket", "document", of("document", "parent")},
	} {
		out["/mobile/v1/"+one.path] = schema{"parameters": id, "post": post(one.op, one.summary, "201", one.typ, one.in)}
	}
	return out
}
