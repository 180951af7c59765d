package service

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/agents"
	"satchel/server/module/attach"
)

// Statuses of a job activity, in their order. Paused and Awaiting Parts are
// side states of Working.
const (
	New           = "New"
	Assigned      = "Assigned"
	Accepted      = "Accepted"
	Travelling    = "Travelling"
	OnSite        = "On Site"
	Working       = "Working"
	Paused        = "Paused"
	AwaitingParts = "Awaiting Parts"
	Cleared       = "Cleared"
	Reviewed      = "Reviewed"
	Completed     = "Completed"
	Invoiced      = "Invoiced"
	Closed        = "Closed"
	Cancelled     = "Cancelled"
)

var activityStates = []string{
	New, Assigned, Accepted, Travelling, OnSite, Working, Paused, AwaitingParts,
	Cleared, Reviewed, Completed, Invoiced, Closed, Cancelled,
}

// PastCleared lists the statuses in which an activity is out of its
// engineer's hands; a cancelled one counts.
func PastCleared() []string { return JobActivity.Status.Past(Cleared) }

// UpToCleared lists the statuses in which its engineer may still work on it.
func UpToCleared() []string { return JobActivity.Status.UpTo(Cleared) }

// Steps are the actions by which the assignee moves an activity along.
var Steps = []string{"accept", "travel", "arrive", "start", "pause", "resume", "await-parts", "clear"}

// JobActivity is one visit or task of a job, assigned to one person.
var JobActivity = &entity.Type{
	No: 202, Name: typeActivity, Plural: "job-activities", Apps: app, Rank: 50, Root: "job",
	Fields: []*entity.Field{
		entity.To(1, "job", "job").Need().Fixed(),
		entity.Str(2, "title").Need().Searched(),
		entity.Long(3, "instructions"),
		// Fixed: given at creation or by assign, never by an edit.
		entity.To(4, "assignee", "employee").Fixed(),
		entity.At(5, "scheduledStart").ByDay(),
		entity.At(6, "scheduledEnd"),
		entity.To(7, "schedulingRole", "schedulingRole"),
		entity.ToMany(8, "checklists", "checklist").UpTo(20),
		entity.Long(9, "note"),
		entity.Long(10, "workDone"),
		entity.At(11, "travelStart").System(),
		entity.At(12, "arrivedAt").System(),
		entity.At(13, "startedAt").System(),
		entity.At(14, "finishedAt").System(),
		entity.Position(15, "position"),
		entity.OneOf(16, "status", activityStates...).Else(Working).System(),
		entity.At(17, "assignedAt").System(),
		entity.At(18, "acceptedAt").System(),
		entity.Str(19, "cancelReason").System(),
	},
	Status: &entity.Lifecycle{
		Field: "status", Initial: New, States: activityStates,
		Open: []string{New, Assigned, Accepted, Travelling, OnSite, Working, Paused, AwaitingParts},
	},
	Actions: []*entity.Action{
		{
			Name: "assign", App: entity.Service, To: Assigned, Assigns: "assignee",
			From: []string{New, Assigned, Accepted, Travelling, OnSite, Working, Paused, AwaitingParts},
			Args: []*entity.Field{
				entity.To(4, "assignee", "employee").Need(),
				entity.At(5, "scheduledStart"),
				entity.At(6, "scheduledEnd"),
			},
			Stamps: []string{"assignedAt"}, Clears: []string{"acceptedAt"},
		},
		{
			Name: "unassign", App: entity.Service, To: New,
			From:   []string{Assigned, Accepted, Travelling, OnSite, Working, Paused, AwaitingParts},
			Clears: []string{"assignee", "assignedAt", "acceptedAt"},
		},
		{Name: "accept", App: entity.Service, From: []string{Assigned}, To: Accepted, Stamps: []string{"acceptedAt"}},
		{
			Name: "travel", App: entity.Service, To: Travelling, Stamps: []string{"travelStart"},
			From: []string{Assigned, Accepted, Paused, AwaitingParts},
		},
		{
			Name: "arrive", App: entity.Service, To: OnSite, Stamps: []string{"arrivedAt"},
			From: []string{Accepted, Travelling}, Args: []*entity.Field{entity.Position(15, "position")},
		},
		{
			// Work that needs no journey starts from Accepted.
			Name: "start", App: entity.Service, To: Working, Stamps: []string{"startedAt"},
			From: []string{Accepted, OnSite},
		},
		{Name: "pause", App: entity.Service, From: []string{OnSite, Working}, To: Paused},
		{Name: "resume", App: entity.Service, From: []string{Paused, AwaitingParts}, To: Working},
		{Name: "await-parts", App: entity.Service, From: []string{OnSite, Working, Paused}, To: AwaitingParts},
		{
			Name: "clear", App: entity.Service, To: Cleared, Stamps: []string{"finishedAt"},
			From: []string{OnSite, Working, Paused, AwaitingParts},
			Args: []*entity.Field{entity.Long(10, "workDone")},
		},
		{Name: "review", App: entity.Service, From: []string{Cleared}, To: Reviewed},
		{Name: "complete", App: entity.Service, From: []string{Reviewed}, To: Completed},
		{Name: "invoice", App: entity.Service, From: []string{Completed}, To: Invoiced},
		{Name: "close", App: entity.Service, From: []string{Completed, Invoiced}, To: Closed},
		{
			Name: "reopen", App: entity.Service, To: Assigned,
			From:   []string{Cleared, Reviewed, Completed, Invoiced, Closed, Cancelled},
			Clears: []string{"finishedAt", "cancelReason"}, Do: reopen,
		},
		{
			Name: "cancel", App: entity.Service, To: Cancelled,
			From: []string{New, Assigned, Accepted, Travelling, OnSite, Working, Paused, AwaitingParts, Cleared, Reviewed},
			Args: []*entity.Field{entity.Str(19, "cancelReason")},
		},
	},
	Check: func(_ entity.Context, _, after *entity.Record) error {
		return attach.InOrder(after, "scheduledStart", "scheduledEnd")
	},
	Created: activityCreated,
	Changed: activityChanged,
}

// activityChanged keeps the job's status and what accrues to agents in step.
func activityChanged(c entity.Context, before, after *entity.Record) error {
	if err := followActivities(c, before, after); err != nil {
		return err
	}
	return agents.Accrue(c, before, after)
}

// reopen puts an activity back to whoever had it; one that nobody has goes to
// the queue.
func reopen(_ entity.Context, r *entity.Record, _ entity.Args) error {
	if r.Get("assignee").IsNull() {
		r.Set("status", entity.StringValue(New))
	}
	return nil
}

func activityCreated(c entity.Context, r *entity.Record) error {
	job, ok := c.Load(r.Get("job").Ref())
	if !ok {
		return fault.New(fault.BadReference).OnField("job")
	}
	if s := job.StatusText(); s == JobClosed || s == JobCancelled {
		return fault.Newf(fault.WrongStatus, "The job is %s; it takes no further activities.", s)
	}
	if !r.Get("assignee").IsNull() {
		r.Set("status", entity.StringValue(Assigned))
		r.Set("assignedAt", entity.TimeValue(c.At()))
	}
	return nil
}
