package edge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	mobile "satchel/mobile-api/wire"
)

// Speak refuses a request in a version of the phones' protocol that this server
// does not speak, with fault.ProtocolNotSupported and the versions it does. Every
// answer says which version it is in.
func Speak(c *fiber.Ctx) error {
	c.Set(mobile.HeaderProtocol, strconv.Itoa(mobile.Protocol))
	said := c.Get(mobile.HeaderProtocol)
	if said == "" {
		return nil
	}
	if n, err := strconv.Atoi(said); err == nil && n >= mobile.MinProtocol && n <= mobile.Protocol {
		return nil
	}
	// RFC 9110, 15.5.22: the answer names what to change to.
	c.Set(fiber.HeaderUpgrade, fmt.Sprintf("satchel/%d", mobile.Protocol))
	return fault.New(fault.ProtocolNotSupported).With("protocol", mobile.Range{Min: mobile.MinProtocol, Max: mobile.Protocol})
}

// Prefers reports whether a request states the preference (RFC 7240), name=value
// in lower case. Of several of one name the first counts.
func Prefers(c *fiber.Ctx, preference string) bool {
	name, value, _ := strings.Cut(preference, "=")
	for _, line := range c.Request().Header.PeekAll(mobile.HeaderPrefer) {
		for rest, more := string(line), true; more; {
			var p string
			p, rest, more = cutUnquoted(rest, ',')
			p, _, _ = cutUnquoted(p, ';')
			said, as, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(said), name) {
				return strings.Trim(strings.TrimSpace(as), `"`) == value
			}
		}
	}
	return false
}

// cutUnquoted is strings.Cut at the first such byte outside of quoted strings.
func cutUnquoted(s string, at byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == at && !quoted:
			return s[:i], s[i+1:], true
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		}
	}
	return s, "", false
}

// Capabilities answers what this server speaks and can do, whoever asks.
func Capabilities(cat *entity.Catalogue) fiber.Handler {
	doc := mobile.Capabilities{
		Protocol:     mobile.Range{Min: mobile.MinProtocol, Max: mobile.Protocol},
		Schema:       mobile.Range{Min: 1, Max: cat.Edition()},
		Capabilities: []string{mobile.CapLive, mobile.CapMobile, mobile.CapRules, mobile.CapWarnings, mobile.CapChanges},
	}
	return func(c *fiber.Ctx) error {
		c.Set(mobile.HeaderProtocol, strconv.Itoa(mobile.Protocol))
		return c.JSON(doc)
	}
}
