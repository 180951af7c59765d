package service

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/sla"
)

// Statuses of a job. Open to Completed follow from its activities.
const (
	JobOpen       = "Open"
	JobScheduled  = "Scheduled"
	JobInProgress = "In Progress"
	JobCompleted  = "Completed"
	JobClosed     = "Closed"
	JobCancelled  = "Cancelled"
)

// typeActivity is JobActivity's name; the hooks below stand in its declaration
// and can't read it from there.
const typeActivity = "jobActivity"

var jobStates = []string{JobOpen, JobScheduled, JobInProgress, JobCompleted, JobClosed, JobCancelled}

// Job is work for a client; its activities are what people are sent to do.
var Job = &entity.Type{
	No: 201, Name: "job", Apps: app, Rank: 40, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "title").Need().Searched(),
		entity.Str(3, "number").UpTo(60).Searched(),
		entity.Long(4, "description"),
		entity.OneOf(5, "kind", "repair", "maintenance", "installation", "inspection", "other").Else("other"),
		entity.OneOf(6, "priority", Priorities...).Else("normal"),
		entity.To(7, "site", "site"),
		entity.To(8, "contact", "contact"),
		entity.To(9, "asset", "asset"),
		entity.At(10, "reported").ByDay(),
		entity.At(11, "due").ByDay(),
		entity.OneOf(12, "status", jobStates...).Else(JobOpen).System(),
		// Fixed, not System: the ticket's action hands it over at creation.
		entity.To(13, "ticket", "ticket").Fixed(),
		entity.At(14, "closedAt").System(),
		entity.Str(15, "cancelReason").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: JobOpen, States: jobStates},
	Actions: []*entity.Action{
		{
			// A job without activities may be closed too: a call settled by phone.
			Name: "close", App: entity.Service, From: []string{JobOpen, JobCompleted}, To: JobClosed,
			Stamps: []string{"closedAt"}, Do: closeJob,
		},
		{
			Name: "cancel", App: entity.Service, From: []string{JobOpen, JobScheduled, JobInProgress}, To: JobCancelled,
			Args: []*entity.Field{entity.Str(15, "cancelReason")},
		},
	},
	Created: func(c entity.Context, r *entity.Record) error {
		if r.Get("reported").IsNull() {
			r.Set("reported", entity.TimeValue(c.At()))
		}
		sla.Created(c, r, "reported")
		return nil
	},
	Changed: jobChanged,
}

func closeJob(c entity.Context, r *entity.Record, _ entity.Args) error {
	var open bool
	c.Referring(typeActivity, "job", r.ID, func(a *entity.Record) bool {
		open = !settled(a.StatusText())
		return !open
	})
	if open {
		return fault.Newf(fault.WrongStatus, "The job still has activities that are not completed.")
	}
	return nil
}

// jobChanged cancels with a job those of its activities that are not done, and
// keeps its agreed time.
func jobChanged(c entity.Context, before, after *entity.Record) error {
	if err := sla.Changed(c, before, after, "reported"); err != nil {
		return err
	}
	if before == nil || after == nil || after.StatusText() != JobCancelled || before.StatusText() == JobCancelled {
		return nil
	}
	var open []*entity.Record
	c.Referring(typeActivity, "job", after.ID, func(a *entity.Record) bool {
		if !settled(a.StatusText()) {
			open = append(open, a.Clone())
		}
		return true
	})
	for _, a := range open {
		a.Set("status", entity.StringValue(Cancelled))
		a.Set("cancelReason", after.Get("cancelReason"))
		if err := c.Save(a); err != nil {
			return err
		}
	}
	return nil
}

// settled reports whether nothing is left to do in an activity.
func settled(status string) bool {
	return slices.Contains([]string{Completed, Invoiced, Closed, Cancelled}, status)
}

// followActivities keeps the job's status in step with its activities. A job
// that was closed or cancelled only moves when work is taken up again.
func followActivities(c entity.Context, before, after *entity.Record) error {
	one := after
	if one == nil {
		one = before
	}
	if before != nil && after != nil && before.StatusText() == after.StatusText() {
		return nil
	}
	job, ok := c.Load(one.Get("job").Ref())
	if !ok { // deleted in the same command
		return nil
	}
	was := job.StatusText()
	if was == JobClosed || was == JobCancelled {
		taken := after != nil && !settled(after.StatusText()) && before != nil && settled(before.StatusText())
		if !taken {
			return nil
		}
	}
	var states []string
	c.Referring(typeActivity, "job", job.ID, func(a *entity.Record) bool {
		states = append(states, a.StatusText())
		return true
	})
	now := jobStatus(states)
	if now == was {
		return nil
	}
	job = job.Clone()
	job.Set("status", entity.StringValue(now))
	if was == JobClosed || was == JobCancelled {
		job.Set("closedAt", nil)
		job.Set("cancelReason", nil)
	}
	return c.Save(job)
}

// jobStatus derives a job's status from those of its activities. Cancelled
// ones say nothing.
func jobStatus(activities []string) string {
	var open, planned, begun, done int
	for _, s := range activities {
		switch s {
		case Cancelled:
		case New:
			open++
		case Assigned, Accepted:
			planned++
		case Completed, Invoiced, Closed:
			done++
		default:
			begun++
		}
	}
	switch {
	case begun > 0, done > 0 && open+planned > 0:
		return JobInProgress
	case done > 0:
		return JobCompleted
	case planned > 0:
		return JobScheduled
	}
	return JobOpen
}
