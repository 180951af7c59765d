package module

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"satchel/internal/entity"
)

// peopleLike is how fields are named that only records of people, or of where
// they live, have.
var peopleLike = regexp.MustCompile(`(?i)(e-?mail|phone|mobile|street|postal|birth|oidc|custodian|firstName|lastName|address|signedBy)`)

// notOfPersons are texts of such records that stay when the person is erased,
// each with the reason.
var notOfPersons = map[string]string{
	"client.number":      "the number on business records",
	"client.country":     "millions live there",
	"site.country":       "millions live there",
	"supplier.number":    "the number on business records",
	"warehouse.name":     "a place of the company's",
	"warehouse.street":   "a place of the company's",
	"warehouse.city":     "a place of the company's",
	"warehouse.position": "a place of the company's",
	"signature.signedBy": "evidence of work that was done, kept with the job",
	"signature.note":     "likewise",
}

// TestPersonalFieldsAreDecided: a type that has what only people have must say
// what goes when its person is erased, text by text.
func TestPersonalFieldsAreDecided(t *testing.T) {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	texts := []entity.Kind{entity.String, entity.Text, entity.Strings, entity.Point, entity.Lines}
	used := map[string]bool{}
	var people []string
	for _, typ := range cat.Types {
		like := typ.Former != ""
		for _, f := range typ.Fields {
			like = like || peopleLike.MatchString(f.Name) && f.Kind != entity.Enum
		}
		if !like {
			continue
		}
		people = append(people, typ.Name)
		for _, f := range typ.Fields {
			if !slices.Contains(texts, f.Kind) {
				continue
			}
			name := typ.Name + "." + f.Name
			reason, stays := notOfPersons[name]
			used[name] = true
			switch {
			case f.Personal && stays:
				t.Errorf("%s goes, and is said to stay: %s", name, reason)
			case !f.Personal && !stays:
				t.Errorf("%s: does it go when the person is erased? Mark it OfPerson, or say here why it stays", name)
			}
		}
		if typ.Former == "" && !slices.ContainsFunc(typ.Fields, func(f *entity.Field) bool { _, ok := notOfPersons[typ.Name+"."+f.Name]; return ok }) {
			t.Errorf("%s has what people have, and no word for a former one", typ.Name)
		}
	}
	for name := range notOfPersons {
		if !used[name] {
			t.Errorf("%s is no text of a record of people", name)
		}
	}
	for _, must := range []string{"client", "contact", "site", "serviceAgent", "supplier", "carrier", "agent", "employee"} {
		if !slices.Contains(people, must) || cat.Type(must).Former == "" {
			t.Errorf("%s is not among the people", must)
		}
	}
}

// ownRecords are the references to an employee that make a record theirs alone.
var ownRecords = []string{"author", "owner", "employee", "recipient", "delegator", "delegate", "about"}

// businessOf are such references of records that stay: they are about the
// business, whoever wrote or owns them.
var businessOf = []string{
	"client.owner", "activity.owner", "opportunity.owner", "campaign.owner", "salesOrder.owner", "invoice.owner", "contract.owner",
	"comment.author", "ticketUpdate.author", "collectionNote.author", "timeEntry.employee",
	"tagging.owner",         // goes with its tag
	"device.employee",       // revoked, and kept until it has been wiped
	"serviceAgent.employee", // the same person, see Former
	"agent.employee",        // likewise
}

// TestOwnRecordsAreDecided: each reference by which a record may be somebody's
// own is one with whom it goes, or is listed as the business's.
func TestOwnRecordsAreDecided(t *testing.T) {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range cat.Types {
		for _, f := range typ.Fields {
			if f.Kind != entity.Ref || !slices.Contains(ownRecords, f.Name) {
				continue
			}
			if name := typ.Name + "." + f.Name; f.Personal == slices.Contains(businessOf, name) {
				t.Errorf("%s: personal %v, the business's %v", name, f.Personal, !f.Personal)
			}
		}
		for _, f := range typ.PersonalRefs() {
			if typ.PersonalIf != nil && !typ.Field(typ.PersonalIf.Field).Immutable {
				t.Errorf("%s goes with its person by %s, which can change", typ.Name, typ.PersonalIf.Field)
			}
			if !f.Immutable && !f.ReadOnly {
				t.Errorf("%s.%s can change: whose it was could not be told", typ.Name, f.Name)
			}
		}
	}
}

func TestPersonalDeclarations(t *testing.T) {
	for name, typ := range map[string]*entity.Type{
		"nothing can stand for": {No: 1, Name: "thing", Apps: entity.Apps[:1], Fields: []*entity.Field{entity.Str(1, "name").Need().OfPerson()}},
		"has no such value":     {No: 1, Name: "thing", Apps: entity.Apps[:1], PersonalIf: &entity.Bound{Field: "kind", Value: "x"}},
	} {
		if _, err := entity.NewCatalogue(typ); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
