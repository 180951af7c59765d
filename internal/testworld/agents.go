package testworld

import "satchel/internal/command"

// seedAgents is what the world has of Agents.
func seedAgents() []command.Row { return nil }
