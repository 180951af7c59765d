package app

import (
	"context"
	"errors"
)

// LoadDemo loads the demo tenant.
func (a *App) LoadDemo(context.Context, string) (string, error) { return "", errors.New("no demo yet") }
