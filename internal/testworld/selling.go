package testworld

import "satchel/internal/command"

// seedSelling is what the world has of CRM and Sales.
func seedSelling() []command.Row { return nil }
