package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The message as FCM HTTP v1 declares it: names, kinds, bounds. Google's
// servers read JSON by the rules of protocol buffers: names in snake_case or
// camelCase, unknown ones refused, enumerations by name.

type shape uint8

const (
	text shape = iota
	boolean
	integer
	texts    // a list of strings
	textMap  // string to string
	duration // "3.5s"
	enum
	object // any JSON object
	nested
)

type field struct {
	shape  shape
	values []string // of an enum, upper case
	fields fields   // of nested
}

type fields map[string]field

func one(s shape) field { return field{shape: s} }

func analytics() field {
	return field{shape: nested, fields: fields{"analytics_label": one(text)}}
}

// requestFields declares the body of messages:send.
var requestFields = fields{
	"validate_only": one(boolean),
	"message": {shape: nested, fields: fields{
		"name": one(text), "token": one(text), "topic": one(text), "condition": one(text),
		"data":         one(textMap),
		"notification": {shape: nested, fields: fields{"title": one(text), "body": one(text), "image": one(text)}},
		"fcm_options":  analytics(),
		"android": {shape: nested, fields: fields{
			"collapse_key": one(text), "ttl": one(duration), "restricted_package_name": one(text), "data": one(textMap),
			"priority": {shape: enum, values: []string{"NORMAL", "HIGH"}}, "direct_boot_ok": one(boolean),
			"fcm_options": analytics(),
			"notification": {shape: nested, fields: fields{
				"title": one(text), "body": one(text), "icon": one(text), "color": one(text), "sound": one(text), "tag": one(text),
				"click_action": one(text), "body_loc_key": one(text), "body_loc_args": one(texts), "title_loc_key": one(text),
				"title_loc_args": one(texts), "channel_id": one(text), "ticker": one(text), "sticky": one(boolean), "event_time": one(text),
				"local_only":            one(boolean),
				"notification_priority": {shape: enum, values: []string{"PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"}},
				"default_sound":         one(boolean), "default_vibrate_timings": one(boolean), "default_light_settings": one(boolean),
				"vibrate_timings": one(texts), "visibility": {shape: enum, values: []string{"VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"}},
				"notification_count": one(integer), "light_settings": one(object), "image": one(text), "bypass_proxy_notification": one(boolean),
				"proxy": {shape: enum, values: []string{"PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"}},
			}},
		}},
		"webpush": {shape: nested, fields: fields{
			"headers": one(textMap), "data": one(textMap), "notification": one(object),
			"fcm_options": {shape: nested, fields: fields{"link": one(text), "analytics_label": one(text)}},
		}},
		"apns": {shape: nested, fields: fields{
			"headers": one(textMap), "payload": one(object), "live_activity_token": one(text),
			"fcm_options": {shape: nested, fields: fields{"analytics_label": one(text), "image": one(text)}},
		}},
	}},
}

// violation is a field at fault and why.
type violation struct{ field, why string }

// walk checks an object against its declaration and gives it snake_case names.
func walk(in map[string]any, decl fields, path string) (map[string]any, *violation) {
	out := make(map[string]any, len(in))
	// In order of names, so that of two faults the same one is reported.
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v, snake := in[name], snakeCase(name)
		f, ok := decl[snake]
		if !ok {
			at := ""
			if path != "" {
				at = fmt.Sprintf(" at '%s'", path)
			}
			return nil, &violation{path, fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", name, at)}
		}
		where := snake
		if path != "" {
			where = path + "." + snake
		}
		if v == nil {
			continue
		}
		if f.shape == nested {
			m, isObject := v.(map[string]any)
			if !isObject {
				return nil, &violation{where, fmt.Sprintf("Invalid value at '%s'.", where)}
			}
			sub, bad := walk(m, f.fields, where)
			if bad != nil {
				return nil, bad
			}
			out[snake] = sub
			continue
		}
		if !f.takes(v) {
			return nil, &violation{where, fmt.Sprintf("Invalid value at '%s'.", where)}
		}
		out[snake] = v
	}
	return out, nil
}

func (f field) takes(v any) bool {
	switch f.shape {
	case text:
		_, ok := v.(string)
		return ok
	case boolean:
		_, ok := v.(bool)
		return ok
	case integer:
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		_, err := n.Int64()
		return err == nil
	case texts:
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(list, func(e any) bool { _, is := e.(string); return !is })
	case textMap:
		m, ok := v.(map[string]any)
		for _, e := range m {
			if _, is := e.(string); !is {
				return false
			}
		}
		return ok
	case duration:
		s, ok := v.(string)
		_, good := seconds(s)
		return ok && good
	case enum:
		s, ok := v.(string)
		return ok && slices.Contains(f.values, strings.ToUpper(s))
	case object:
		_, ok := v.(map[string]any)
		return ok
	case nested:
		return false
	}
	return false
}

// snakeCase turns collapseKey into collapse_key.
func snakeCase(name string) string {
	var b strings.Builder
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

var durationForm = regexp.MustCompile(`^([0-9]{1,12})(\.[0-9]{1,9})?s$`)

// seconds reads a duration in protocol buffers' JSON form.
func seconds(s string) (time.Duration, bool) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64)
	if err != nil || n > math.MaxInt64/1e9 {
		return 0, false
	}
	return time.Duration(n * float64(time.Second)), true
}

// Bounds that FCM and the services behind it set.
const (
	maxPayload = 4096
	maxTTL     = 28 * 24 * time.Hour
	maxTokenID = 4096
)

// parsed is what the emulator needs of a message.
type parsed struct {
	token        string
	toMany       bool // a topic or a condition
	collapseKey  string
	ttl          time.Duration
	high         bool
	visible      bool
	data         map[string]string
	validateOnly bool
	message      json.RawMessage // as received
}

// parse reads and validates the body of messages:send. A fault of JSON or of
// declared fields comes without an FCM error code, as at Google.
func parse(body []byte) (p parsed, v *violation, malformed bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var raw map[string]any
	if err := dec.Decode(&raw); err != nil || dec.More() {
		return p, &violation{"", "Invalid JSON payload received. Unexpected end or token."}, true
	}
	req, bad := walk(raw, requestFields, "")
	if bad != nil {
		return p, bad, true
	}
	msg, ok := req["message"].(map[string]any)
	if !ok {
		return p, &violation{"message", "The message is not set."}, false
	}
	targets := 0
	for _, name := range []string{"token", "topic", "condition"} {
		if s, _ := msg[name].(string); s != "" {
			targets++
		}
	}
	switch {
	case targets == 0:
		return p, &violation{"message", "Recipient of the message is not set."}, false
	case targets > 1:
		return p, &violation{"message", "Invalid value at 'message' (oneof), oneof field 'target' is already set."}, true
	}
	p.token, _ = msg["token"].(string)
	p.toMany = p.token == ""
	p.validateOnly, _ = req["validate_only"].(bool)
	if bad := check(msg); bad != nil {
		return p, bad, false
	}
	android, _ := msg["android"].(map[string]any)
	p.collapseKey, _ = android["collapse_key"].(string)
	p.ttl = maxTTL
	if s, ok := android["ttl"].(string); ok {
		p.ttl, _ = seconds(s)
	}
	prio, _ := android["priority"].(string)
	p.high = strings.EqualFold(prio, "high")
	_, p.visible = msg["notification"]
	p.data = stringMap(msg["data"])
	var env struct {
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(body, &env); err != nil {
		return p, &violation{"", "Invalid JSON payload received."}, true
	}
	p.message = env.Message
	return p, nil, false
}

func stringMap(v any) map[string]string {
	m, _ := v.(map[string]any)
	out := make(map[string]string, len(m))
	for k, e := range m {
		out[k], _ = e.(string)
	}
	return out
}

var (
	tokenForm = regexp.MustCompile(`^[A-Za-z0-9_:.=~%-]+$`)
	topicForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
)

// check holds a well-formed message against the rules of FCM, APNs and Web Push.
func check(msg map[string]any) *violation {
	if tok, _ := msg["token"].(string); tok != "" && (len(tok) > maxTokenID || !tokenForm.MatchString(tok)) {
		return &violation{"message.token", "The registration token is not a valid FCM registration token"}
	}
	notification, _ := msg["notification"].(map[string]any)
	android, _ := msg["android"].(map[string]any)
	size := 0
	for _, part := range []any{msg["data"], android["data"]} {
		for k, v := range stringMap(part) {
			low := strings.ToLower(k)
			if low == "from" || low == "message_type" || strings.HasPrefix(low, "google.") || strings.HasPrefix(low, "gcm.") {
				return &violation{"message.data", "Invalid data payload key: " + k}
			}
			size += len(k) + len(v)
		}
	}
	for _, v := range stringMap(notification) {
		size += len(v)
	}
	if size > maxPayload {
		return &violation{"message", "Android message is too big"}
	}
	if s, ok := android["ttl"].(string); ok {
		if ttl, _ := seconds(s); ttl > maxTTL {
			return &violation{"message.android.ttl", "Invalid value: the TTL must not exceed 2419200 seconds."}
		}
	}
	if bad := checkWebPush(msg); bad != nil {
		return bad
	}
	return checkAPNs(msg, len(notification) > 0)
}

func checkWebPush(msg map[string]any) *violation {
	webpush, _ := msg["webpush"].(map[string]any)
	for k, v := range stringMap(webpush["headers"]) {
		good := true
		switch strings.ToLower(k) {
		case "ttl":
			n, err := strconv.ParseInt(v, 10, 64)
			good = err == nil && n >= 0 && n <= int64(maxTTL/time.Second)
		case "urgency":
			good = slices.Contains([]string{"very-low", "low", "normal", "high"}, v)
		case "topic":
			good = topicForm.MatchString(v)
		}
		if !good {
			return &violation{"message.webpush.headers", fmt.Sprintf("Invalid value for the header %s.", k)}
		}
	}
	options, _ := webpush["fcm_options"].(map[string]any)
	if link, _ := options["link"].(string); link != "" {
		if u, err := url.Parse(link); err != nil || u.Scheme != "https" {
			return &violation{"message.webpush.fcm_options.link", "The link must use https."}
		}
	}
	return nil
}

func checkAPNs(msg map[string]any, notification bool) *violation {
	apns, _ := msg["apns"].(map[string]any)
	payload, _ := apns["payload"].(map[string]any)
	if b, err := json.Marshal(payload); err != nil || len(b) > maxPayload {
		return &violation{"message.apns.payload", "APNs payload is too big"}
	}
	aps, _ := payload["aps"].(map[string]any)
	shows := notification || aps["alert"] != nil || aps["badge"] != nil || aps["sound"] != nil
	headers := stringMap(apns["headers"])
	for k, v := range headers {
		good := true
		switch strings.ToLower(k) {
		case "apns-priority":
			good = v == "1" || v == "5" || v == "10"
		case "apns-expiration":
			n, err := strconv.ParseInt(v, 10, 64)
			good = err == nil && n >= 0
		case "apns-collapse-id":
			good = len(v) > 0 && len(v) <= 64
		case "apns-push-type":
			// Apple drops background pushes that show something or are urgent.
			good = v == "alert" || v == "background" && !shows && headers["apns-priority"] != "10"
		}
		if !good {
			return &violation{"message.apns.headers", fmt.Sprintf("Invalid value for the header %s.", k)}
		}
	}
	return nil
}
