package rest

// signInPaths are the addresses of the session interface beside signing in,
// renewing and signing out.
func signInPaths() schema {
	text, flag := schema{"type": "string"}, schema{"type": "boolean"}
	seconds := schema{"type": "integer", "description": "Seconds."}
	in := func(required []string, properties schema) schema {
		return schema{"required": true, "content": jsonBody(schema{
			"type": "object", "required": required, "additionalProperties": false, "properties": properties,
		})}
	}
	out := func(required []string, properties schema) schema {
		return schema{"type": "object", "required": required, "properties": properties}
	}
	device := schema{
		"type": "object", "required": []string{"installation", "incarnation"}, "additionalProperties": false,
		"properties": schema{"installation": text, "incarnation": text, "name": text, "platform": text, "pushToken": text},
	}
	limited := schema{
		"description": "Too many attempts from this address, or for this account. Nothing was looked at.",
		"headers":     schema{"Retry-After": schema{"description": "Seconds until it may be tried again.", "schema": schema{"type": "integer"}}},
		"content":     schema{"application/problem+json": schema{"schema": ref("schemas", "Problem")}},
	}
	op := func(id, summary, description string, body, responses schema) schema {
		responses["429"] = limited
		m := schema{"operationId": id, "tags": []string{"session"}, "summary": summary, "responses": responses}
		if description != "" {
			m["description"] = description
		}
		if body != nil {
			m["requestBody"] = body
		}
		return m
	}
	open := func(m schema) schema {
		m["security"] = []any{}
		return m
	}
	parameter := func(name, description string, required bool) schema {
		return schema{"name": name, "in": "query", "required": required, "description": description, "schema": text}
	}
	recovery := out([]string{"recoveryCodes"}, schema{"recoveryCodes": schema{
		"type": "array", "items": text, "description": "Ten codes, each good once instead of a code. They are told this once.",
	}})
	proof := in([]string{"password"}, schema{
		"password": text, "code": schema{"type": "string", "description": "Of the authenticator app; this or recoveryCode."}, "recoveryCode": text,
	})
	employee := in([]string{"employee"}, schema{"employee": text})
	moved := func(description string) schema {
		return schema{
			"302": schema{"description": description, "headers": schema{"Location": schema{"schema": text}, "Set-Cookie": schema{"schema": text}}},
			"400": ref("responses", "Problem"), "401": ref("responses", "Unauthenticated"), "default": ref("responses", "Problem"),
		}
	}

	authorize := open(op("authorize", "Sign in by the company's identity provider, in the system's browser",
		"The authorization code flow with PKCE (RFC 8252). A request that can't be used is answered, never redirected. "+
			"The redirect URI must be one of those configured; of http://127.0.0.1 and http://[::1] the port is the app's choice.",
		nil, moved("To the identity provider; or to the app, with error=temporarily_unavailable.")))
	authorize["parameters"] = []any{
		parameter("tenant", "The tenant's slug.", true), parameter("redirect_uri", "Where the app takes the answer.", true),
		parameter("response_type", "code.", false), parameter("state", "The app's own, up to 512 characters; given back as it is.", true),
		parameter("code_challenge", "43 characters of base64url.", true), parameter("code_challenge_method", "S256.", true),
	}
	callback := open(op("oidcCallback", "Where the identity provider sends the browser back to", "", nil,
		moved("To the app, with code and state; or with error=access_denied and state, whatever was the reason.")))
	callback["parameters"] = []any{
		schema{"name": "tenant", "in": "path", "required": true, "schema": text},
		parameter("state", "", true), parameter("code", "", false), parameter("error", "", false), parameter("iss", "RFC 9207.", false),
	}
	return schema{
		"/v1/auth/password": schema{"post": op("changePassword", "Choose another password; every session of one's own ends", "",
			in([]string{"current", "new"}, schema{"current": text, "new": text}), answers("204", "Done.", nil, "422"))},
		"/v1/auth/invitations": schema{"post": op("inviteEmployee", "Let an employee choose a password", "For customer administrators. The token is told this once; where mails are sent, it goes to the employee and is not told.",
			employee, answers("201", "The invitation.", out([]string{"employee", "expires"}, schema{
				"employee": text, "token": text, "path": schema{"type": "string", "description": "Where an app's page takes it, relative to the app."},
				"expires": schema{"type": "string", "format": "date-time"}, "mailed": flag,
			}), "403", "404", "409"))},
		"/v1/auth/accept": schema{"post": open(op("acceptInvitation", "Choose a password by an invitation, or after forgetting one", "",
			in([]string{"tenant", "token", "password"}, schema{"tenant": text, "token": text, "password": text}), answers("204", "Done; sign in with it.", nil, "422")))},
		"/v1/auth/reset": schema{"post": open(op("forgotPassword", "Say that one forgot the password", "The answer is the same whether or not there is such a person. Who is active and has a password is sent a token that is good for an hour.",
			in([]string{"tenant", "email"}, schema{"tenant": text, "email": text}), answers("202", "Noted.", nil, "422")))},
		"/v1/auth/second-factor": schema{"post": open(op("secondFactor", "Finish a sign-in that was answered with second_factor_required",
			"The challenge is good for five minutes and five codes, on the device that the sign-in was begun with. invalid_code may be tried again, after challenge_expired the sign-in starts anew. "+
				"Where the refusal had a member enrol (secret, uri), the code is that of the second factor being chosen, and the answer has its recovery codes.",
			in([]string{"tenant", "challenge"}, schema{"tenant": text, "challenge": text, "code": text, "recoveryCode": text, "device": device}),
			answers("200", "Signed in.", schema{"allOf": []any{ref("schemas", "SignedIn"), schema{"type": "object", "properties": schema{"recoveryCodes": schema{"type": "array", "items": text}}}}}, "403", "422")))},
		"/v1/auth/second-factor/reset": schema{"post": op("resetSecondFactor", "Take the second factor from somebody who lost it", "For customer administrators.",
			employee, answers("204", "Done.", nil, "403", "404"))},
		"/v1/auth/oidc/authorize":         schema{"get": authorize},
		"/v1/auth/oidc/callback/{tenant}": schema{"get": callback},
		"/v1/auth/oidc/token": schema{"post": open(op("oidcToken", "Sign in with a code of the identity provider's sign-in",
			"A code is good once and for a minute, whatever verifier comes with it. No second factor is asked for: the identity provider asks for what the company demands.",
			in([]string{"tenant", "code", "code_verifier"}, schema{"tenant": text, "code": text, "code_verifier": text, "device": device}),
			answers("200", "Signed in.", ref("schemas", "SignedIn"), "403", "422")))},
		"/v1/auth/oidc/reset": schema{"post": op("resetIdentity", "Untie an employee from an account of the identity provider", "For customer administrators. The next sign-in by a verified address ties another.",
			employee, answers("204", "Done.", nil, "403", "404"))},
		"/v1/me/totp": schema{"post": op("enrolSecondFactor", "Begin to use an authenticator app", "Nothing is stored before a code has come back.",
			in([]string{"password"}, schema{"password": text}), answers("200", "What to put into the app.", out([]string{"secret", "uri", "enrolment", "expiresIn"}, schema{
				"secret": schema{"type": "string", "description": "Base32, to be typed."}, "uri": schema{"type": "string", "description": "otpauth://, to be shown as a QR code."},
				"enrolment": schema{"type": "string", "description": "To be sent with the first code."}, "expiresIn": seconds,
			}), "409"))},
		"/v1/me/totp/confirm": schema{"post": op("confirmSecondFactor", "Send the authenticator app's first code", "",
			in([]string{"enrolment", "code"}, schema{"enrolment": text, "code": text}), answers("200", "It is asked for from now on.", recovery, "409"))},
		"/v1/me/totp/disable": schema{"post": op("disableSecondFactor", "Do without the authenticator app", "",
			proof, answers("204", "Done.", nil, "403", "409", "422"))},
		"/v1/me/totp/recovery-codes": schema{"post": op("renewRecoveryCodes", "Have other recovery codes", "Those there were are good no more.",
			proof, answers("200", "The codes.", recovery, "409", "422"))},
	}
}
