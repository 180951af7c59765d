package fcm

import "strings"

// lines are all the words a push can show, by language and collapse key. They
// stand on lock screens and pass through other companies' computers, so they
// name no client, no person, no number and no place.
var lines = map[string]map[string]string{
	"en": {
		"":              "There is something new for you",
		CollapseSync:    "There is something new for you",
		CollapseJobs:    "You have new work",
		CollapseTickets: "There is news about tickets",
		CollapseAccess:  "What you may see has changed",
	},
	"de": {
		"":              "Es gibt Neues für Sie",
		CollapseSync:    "Es gibt Neues für Sie",
		CollapseJobs:    "Sie haben neue Arbeit",
		CollapseTickets: "Es gibt Neues zu Tickets",
		CollapseAccess:  "Ihre Rechte haben sich geändert",
	},
	"fr": {
		"":              "Il y a du nouveau pour vous",
		CollapseSync:    "Il y a du nouveau pour vous",
		CollapseJobs:    "Vous avez du nouveau travail",
		CollapseTickets: "Il y a du nouveau sur les tickets",
		CollapseAccess:  "Vos droits ont changé",
	},
}

// line returns the words for a collapse key in the language of a tag.
func line(collapseKey, tag string) string {
	base, _, _ := strings.Cut(strings.ReplaceAll(tag, "_", "-"), "-")
	table, ok := lines[strings.ToLower(base)]
	if !ok {
		table = lines["en"]
	}
	return table[collapseKey]
}
