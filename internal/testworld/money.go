package testworld

import "satchel/internal/command"

// seedMoney is what the world has of Billing and Debtors.
func seedMoney() []command.Row { return nil }
