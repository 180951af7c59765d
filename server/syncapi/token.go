package syncapi

import (
	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/strictjson"
)

// maxToken bounds a push token, in bytes.
const maxToken = 4096

type tokenBody struct {
	// PushToken is the device's registration with the carrier; null or "" where
	// it is to get no pushes.
	PushToken *string `json:"pushToken"`
}

// pushToken takes note of the token by which the calling device is sent pushes.
// Carriers give a device another one now and then, whether or not its user
// signs in.
func (s *Server) pushToken(c *fiber.Ctx) error {
	caller, raw, err := s.request(c)
	if err != nil {
		return err
	}
	var b tokenBody
	if err := strictjson.Decode(raw, &b); err != nil {
		return err
	}
	a := &command.Address{}
	if b.PushToken != nil {
		a.Token = *b.PushToken
	}
	if len(a.Token) > maxToken {
		return fault.Newf(fault.BadValue, "pushToken may have at most %d characters.", maxToken).OnField("pushToken")
	}
	cmd := caller.Command()
	cmd.Address = a
	if _, err := caller.Tenant.Submit(c.Context(), cmd); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
