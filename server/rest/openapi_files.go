package rest

import "satchel/internal/entity"

// filePaths are the addresses at which files come and go: uploads by the tus
// protocol, and what documents have for content.
func filePaths(cat *entity.Catalogue) schema {
	text := schema{"type": "string"}
	bytes := schema{"type": "integer", "minimum": 0, "description": "Bytes."}
	header := func(name string, of schema, required bool) schema {
		return schema{"name": name, "in": "header", "required": required, "schema": of}
	}
	version := header("Tus-Resumable", schema{"const": "1.0.0"}, true)
	offsets := schema{
		"Upload-Offset":  schema{"description": "Where the upload goes on.", "schema": bytes},
		"Upload-Expires": schema{"description": "When it is forgotten if nothing more comes.", "schema": text},
		"Satchel-File-Status": schema{
			"description": "Of content that has arrived whole: kept, or waiting to be checked, of which its sender is told by a notification if it is refused.",
			"schema":      schema{"enum": []string{"kept", "waiting"}},
		},
	}
	chunk := schema{"application/offset+octet-stream": schema{"schema": schema{"type": "string", "format": "binary"}}}
	op := func(id, summary, status, done string, headers schema, params ...schema) schema {
		ok := schema{"description": done}
		if headers != nil {
			ok["headers"] = headers
		}
		o := schema{
			"operationId": id, "tags": []string{"files"}, "summary": summary,
			"responses": schema{status: ok, "401": ref("responses", "Unauthenticated"), "default": ref("responses", "Problem")},
		}
		if len(params) > 0 {
			o["parameters"] = params
		}
		return o
	}
	sum := header("Upload-Checksum", schema{"type": "string", "description": "sha1 or sha256, a space, and the hash in base64. What differs is dropped and answered with 460."}, false)
	create := op("createUpload", "Begin an upload, with its first bytes or without", "201", "Begun; finished where no bytes are missing.", schema{
		"Location":       schema{"description": "The upload's address.", "schema": text},
		"Upload-Offset":  offsets["Upload-Offset"],
		"Upload-Expires": offsets["Upload-Expires"],

		"Satchel-File-Status": offsets["Satchel-File-Status"],
	}, version, header("Upload-Length", bytes, true), header("Upload-Metadata", schema{
		"type": "string", "description": "Keys with base64 values: document (required), the id of a document that exists or is yet to be created; type, which is document; filename.",
	}, true), sum)
	create["requestBody"] = schema{"content": chunk}
	patch := op("sendUpload", "Send the next bytes; a broken request leaves what arrived", "204", "Taken.", offsets, version, header("Upload-Offset", bytes, true), sum)
	patch["requestBody"] = schema{"required": true, "content": chunk}
	options := op("uploadOptions", "What the server can do", "204", "Version, extensions, checksum algorithms and largest size, as headers.", nil)
	options["security"] = []any{}
	head := op("uploadState", "How an upload stands; a request that still sends to it is ended", "200", "The offset, length and metadata, as headers.", offsets, version)
	head["responses"].(schema)["423"] = schema{"description": "Another request is sending and did not end."}
	patch["responses"].(schema)["423"] = schema{"description": "Another request is sending."}
	patch["responses"].(schema)["460"] = schema{"description": "The bytes are not those of the checksum; the offset is as before."}
	out := schema{
		"/files/": schema{"post": create, "options": options},
		"/files/{id}": schema{
			"parameters": []any{schema{"name": "id", "in": "path", "required": true, "schema": text}},
			"head":       head, "patch": patch,
			"delete": op("endUpload", "Give an upload up", "204", "Gone. Content that a document has stays.", nil, version),
		},
	}
	typ := cat.Type("document")
	file := func(kind string) schema {
		return schema{kind: schema{"schema": schema{"type": "string", "format": "binary"}}}
	}
	for _, a := range entity.Apps {
		if typ == nil || !typ.In(a) {
			continue
		}
		base := "/v1/" + string(a) + "/" + typ.CollectionIn(a) + "/{id}"
		content := op(string(a)+"DocumentContent", "The document's content, or a range of it", "200", "The content, to be saved.", nil, header("Range", text, false))
		content["responses"].(schema)["200"].(schema)["content"] = file("*/*")
		content["responses"].(schema)["206"] = schema{"description": "The range.", "content": file("*/*")}
		content["responses"].(schema)["409"] = schema{"description": "file_waiting: the content has arrived and is yet to be checked; told to whoever sent it and whoever created the document."}
		content["responses"].(schema)["416"] = schema{"description": "Nothing lies in the range."}
		thumbnail := op(string(a)+"DocumentThumbnail", "A small JPEG of a document that is a picture", "200", "The thumbnail.", nil, schema{
			"name": "size", "in": "query", "schema": schema{"type": "integer", "minimum": 1, "maximum": 768, "default": 192},
			"description": "Its longer edge in pixels, rounded up to 96, 192, 384 or 768; never larger than the picture.",
		})
		thumbnail["responses"].(schema)["200"].(schema)["content"] = file("image/jpeg")
		for _, o := range []schema{content, thumbnail} {
			o["responses"].(schema)["304"] = ref("responses", "NotModified")
			o["responses"].(schema)["404"] = ref("responses", "NotFound")
		}
		out[base+"/content"] = schema{"parameters": []any{ref("parameters", "id")}, "get": content}
		out[base+"/thumbnail"] = schema{"parameters": []any{ref("parameters", "id")}, "get": thumbnail}
	}
	return out
}
