package fault

// Code is a stable name of a refusal, shown to clients. Codes are never
// renamed or given another meaning.
type Code string

// The codes. Each stands in the table below with its kind and its words.
const (
	InternalError        Code = "internal_error"
	Malformed            Code = "malformed_json"
	UnknownField         Code = "unknown_field"
	BadValue             Code = "bad_value"
	MissingField         Code = "missing_field"
	ImmutableField       Code = "immutable_field"
	ReadOnlyField        Code = "read_only_field"
	BadID                Code = "bad_id"
	BadParameter         Code = "bad_parameter"
	BadReference         Code = "bad_reference"
	BadCheckpoint        Code = "bad_checkpoint"
	TooDeep              Code = "too_deep"
	TooBig               Code = "too_large"
	EncodingRefused      Code = "content_encoding_refused"
	MediaType            Code = "unsupported_media_type"
	InvalidCredentials   Code = "invalid_credentials"
	InvalidToken         Code = "invalid_token"
	TokenExpired         Code = "token_expired"
	SessionRevoked       Code = "session_revoked"
	SecondFactor         Code = "second_factor_required"
	InvalidCode          Code = "invalid_code"
	ChallengeOver        Code = "challenge_expired"
	SignInRefused        Code = "sign_in_refused"
	DeviceRevoked        Code = "device_revoked"
	DeviceRequired       Code = "device_required"
	OriginRefused        Code = "origin_refused"
	NotAllowed           Code = "not_allowed"
	FieldNotAllowed      Code = "field_not_allowed"
	MobileModuleRequired Code = "mobile_module_required"
	NotFoundCode         Code = "not_found"
	MethodNotAllowed     Code = "method_not_allowed"
	Archived             Code = "archived"
	NotArchived          Code = "not_archived"
	WrongStatus          Code = "wrong_status"
	HasDependents        Code = "has_dependents"
	InsufficientStock    Code = "insufficient_stock"
	Duplicate            Code = "duplicate"
	LastAdministrator    Code = "last_administrator"
	AssigneeNotEligible  Code = "assignee_not_eligible"
	RevMismatch          Code = "rev_mismatch"
	EditConflict         Code = "conflict"
	NumberReused         Code = "number_reused"
	NumberGap            Code = "number_gap"
	DependsOn            Code = "depends_on"
	KeyReused            Code = "idempotency_key_reused"
	ProtocolVersion      Code = "unsupported_protocol_version"
	OffsetMismatch       Code = "offset_mismatch"
	ChecksumMismatch     Code = "checksum_mismatch"
	UploadLocked         Code = "upload_locked"
	QuotaExceeded        Code = "quota_exceeded"
	FileTypeRefused      Code = "file_type_refused"
	FileRefused          Code = "file_refused"
	FileNotScanned       Code = "file_not_scanned"
	FileWaiting          Code = "file_waiting"
	TooManyRequests      Code = "too_many_requests"
	ShuttingDown         Code = "shutting_down"
	TenantStopped        Code = "tenant_stopped"
	DiskFull             Code = "disk_full"
	Busy                 Code = "busy"
	ProtocolNotSupported Code = "protocol_not_supported"
	SchemaNotSupported   Code = "schema_not_supported"
)

type codeEntry struct {
	kind Kind
	text string
}

var codes = map[Code]codeEntry{
	InternalError:        {Internal, "Something went wrong on the server. Nothing was changed."},
	Malformed:            {Invalid, "The body is not valid JSON."},
	UnknownField:         {Invalid, "There is no such field."},
	BadValue:             {Unprocessable, "The value does not fit the field."},
	MissingField:         {Unprocessable, "A required field is missing."},
	ImmutableField:       {Unprocessable, "This field can't be changed once the record exists."},
	ReadOnlyField:        {Unprocessable, "This field is set by the system."},
	BadID:                {Unprocessable, "This id can't be used."},
	BadParameter:         {Invalid, "A parameter of the request can't be used."},
	BadReference:         {Unprocessable, "The record referred to does not exist."},
	BadCheckpoint:        {Invalid, "The checkpoint is not one of this server's."},
	TooDeep:              {Invalid, "The body is nested too deeply."},
	TooBig:               {TooLarge, "The request is too large."},
	EncodingRefused:      {Unsupported, "Compressed request bodies are not taken."},
	MediaType:            {Unsupported, "The body must be application/json."},
	InvalidCredentials:   {Unauthenticated, "The tenant, the e-mail address or the password is wrong."},
	InvalidToken:         {Unauthenticated, "The access token can't be used."},
	TokenExpired:         {Unauthenticated, "The access token has expired."},
	SessionRevoked:       {Unauthenticated, "This session has ended. Sign in again."},
	SecondFactor:         {Unauthenticated, "A second factor is required."},
	InvalidCode:          {Unauthenticated, "The code is wrong or was used already."},
	ChallengeOver:        {Unauthenticated, "The sign-in took too long or was tried too often. Start again."},
	SignInRefused:        {Unauthenticated, "The sign-in could not be completed."},
	DeviceRevoked:        {Forbidden, "This device has been revoked."},
	DeviceRequired:       {Forbidden, "Sign in with a device to synchronise."},
	OriginRefused:        {Forbidden, "This origin may not connect."},
	NotAllowed:           {Forbidden, "You may not do this."},
	FieldNotAllowed:      {Forbidden, "You may not change this field."},
	MobileModuleRequired: {Forbidden, "The Mobile Service Agent module is not part of your roles."},
	NotFoundCode:         {NotFound, "There is no such record."},
	MethodNotAllowed:     {Invalid, "This address does not take that method."},
	Archived:             {Conflict, "The record is archived. Restore it first."},
	NotArchived:          {Conflict, "The record is not archived."},
	WrongStatus:          {Conflict, "The record's status does not allow this."},
	HasDependents:        {Conflict, "Other records belong to this one. Delete them first."},
	InsufficientStock:    {Conflict, "Not enough of a product lies in the warehouse."},
	Duplicate:            {Conflict, "Another record already has this value."},
	LastAdministrator:    {Conflict, "At least one active customer administrator who sees every client must remain."},
	AssigneeNotEligible:  {Unprocessable, "This person can't be assigned here."},
	RevMismatch:          {Precondition, "The record has changed since it was read."},
	EditConflict:         {Conflict, "Somebody else changed this in the meantime."},
	NumberReused:         {Conflict, "This mutation number was used for another content."},
	NumberGap:            {Conflict, "A mutation before this one is missing."},
	DependsOn:            {Conflict, "A change this one depends on was refused."},
	KeyReused:            {Unprocessable, "This idempotency key was used for another request."},
	ProtocolVersion:      {Precondition, "The server speaks another version of the protocol."},
	OffsetMismatch:       {Conflict, "The upload goes on at another offset."},
	ChecksumMismatch:     {Unprocessable, "What arrived is not what was sent. It was dropped; send it again."},
	UploadLocked:         {Conflict, "Another request is sending to this upload."},
	QuotaExceeded:        {TooLarge, "There is no room for this file until others are done or deleted."},
	FileTypeRefused:      {Unsupported, "Files of this type are not taken."},
	FileRefused:          {Unprocessable, "The file was found to be harmful and is not taken."},
	FileNotScanned:       {Unprocessable, "The file could not be checked for harmful content and is not taken."},
	FileWaiting:          {Conflict, "The file has arrived and is yet to be checked for harmful content. Try again later."},
	TooManyRequests:      {TooMany, "Too many requests. Try again later."},
	ShuttingDown:         {Unavailable, "The server is shutting down."},
	TenantStopped:        {Unavailable, "This tenant is stopped after a storage error."},
	DiskFull:             {Storage, "The disk is nearly full. Nothing is written until there is space."},
	Busy:                 {Unavailable, "The server is busy. Try again."},
	ProtocolNotSupported: {Outdated, "This server does not speak the app's version of the protocol. Update the app."},
	SchemaNotSupported:   {Outdated, "This server no longer knows what the app's version means by this. Update the app."},
}

// Kind returns the code's kind; an unknown code is Internal.
func (c Code) Kind() Kind { return codes[c].kind }

// Text returns the code's words.
func (c Code) Text() string { return codes[c].text }

// Codes calls f for every code with its kind and words, in no fixed order;
// the OpenAPI document lists them.
func Codes(f func(Code, Kind, string)) {
	for c, e := range codes {
		f(c, e.kind, e.text)
	}
}

var statuses = [...]int{
	Internal: 500, Invalid: 400, Unauthenticated: 401, Forbidden: 403, NotFound: 404, Conflict: 409,
	Precondition: 412, TooLarge: 413, Unsupported: 415, Unprocessable: 422, TooMany: 429, Unavailable: 503, Storage: 507,
	Outdated: 426,
}

// Status is the HTTP status an edge answers the kind with.
func (k Kind) Status() int { return statuses[k] }
