package testworld

import "satchel/internal/command"

// seedStock is what the world has of Stock.
func seedStock() []command.Row { return nil }
