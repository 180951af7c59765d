package rest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// The page that renders the OpenAPI document for people. It loads nothing but
// that document, and its policy lets it do nothing else.
var (
	//go:embed docs.html
	docsPage []byte
	//go:embed docs.css
	docsStyle string
	//go:embed docs.js
	docsScript string
)

// docs is the page put together, and the policy that names its two parts by
// their hashes.
var docs, docsPolicy = func() ([]byte, string) {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	page := strings.NewReplacer("{{style}}", docsStyle, "{{script}}", docsScript).Replace(string(docsPage))
	return []byte(page), "default-src 'none'; style-src " + hash(docsStyle) + "; script-src " + hash(docsScript) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

func serveDocs(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(docs)
}
