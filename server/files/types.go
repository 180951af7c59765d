package files

import (
	"path"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// DefaultTypes are the media types that are taken unless others are asked for:
// pictures, recordings, office documents, plain text and archives. Nothing
// that a browser would run is among them, SVG included.
var DefaultTypes = []string{
	"image/jpeg", "image/png", "image/gif", "image/webp", "image/heic", "image/heif", "image/tiff", "image/bmp",
	"application/pdf", "text/plain", "text/csv", "text/rtf", "application/rtf",
	"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
	"application/vnd.oasis.opendocument.presentation",
	"audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/amr", "audio/ogg", "audio/wav", "audio/aac",
	"video/mp4", "video/quicktime", "video/3gpp", "video/webm",
	"application/zip", "application/json", "message/rfc822",
}

// sniffed is how many bytes a type is told from.
const sniffed = 3072

// sniff tells the media type of content from its first bytes, without
// parameters.
func sniff(head []byte) string {
	t, _, _ := strings.Cut(mimetype.Detect(head).String(), ";")
	return strings.TrimSpace(t)
}

// takes reports whether a sniffed type is on a list.
func takes(list []string, mediaType string) bool {
	m := mimetype.Lookup(mediaType)
	return slices.ContainsFunc(list, func(t string) bool { return t == mediaType || m != nil && m.Is(t) })
}

// extensions are those that a name may have for its type, where it is not the
// one alone.
var extensions = map[string][]string{
	"image/jpeg": {".jpg", ".jpeg"}, "image/tiff": {".tif", ".tiff"},
	"text/plain": {".txt", ".log", ".md", ".csv", ".text"}, "text/csv": {".csv", ".txt"},
	"audio/mp4": {".m4a", ".mp4"}, "video/mp4": {".mp4", ".m4v"}, "message/rfc822": {".eml"},
}

// saveAs is the name that content is offered for saving under: the document's,
// with an extension that tells what the content is rather than what somebody
// called it.
func saveAs(name, mediaType string) string {
	if name = cleanName(name); name == "" {
		name = "document"
	}
	allowed := extensions[mediaType]
	if m := mimetype.Lookup(mediaType); allowed == nil && m != nil && m.Extension() != "" {
		allowed = []string{m.Extension()}
	}
	if len(allowed) == 0 || slices.Contains(allowed, strings.ToLower(path.Ext(name))) {
		return name
	}
	return name + allowed[0]
}
