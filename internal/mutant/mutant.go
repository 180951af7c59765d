// Package mutant plants faults in the product, one at a time and by name, so
// that it can be shown that the tests find them: a suite that passes proves
// little unless it fails where something is broken.
//
// A plant is one condition in the code it breaks:
//
//	if !mask.Has(c.No) && !mutant.On(mutant.MaskedEncoded) {
//
// In the product On is a constant false, and the compiler leaves nothing of the
// plant. Only a build with the tag satchel_mutants has the switch: the
// environment variable SATCHEL_MUTANT names the fault that such a process has,
// and "list" prints the table of all of them as JSON. Such a build is for tests
// and refuses to serve.
//
// The table (table.go, in that build alone) says of each fault where it is
// planted, what it breaks, and which tests must find it. Package mutanttest runs
// them. Any package may import this one.
package mutant

// ID is a fault that can be planted.
type ID uint8

// The faults. What each does stands in the table.
const (
	None ID = iota

	// Of internal/policy: what is decided about one record.
	SkipMask
	ForgetHidden
	IgnoreDenial
	ChangeUnseen
	ContextAsRoot
	IgnoreUnless
	LendPersonal
	LendHidden
	HiddenBrings
	CommonAlthoughLent

	// Of sync/subject: what people's rights are built from.
	GrantNeverEnds
	LendAdministrator
	ForgetRoleLimit

	// Of sync/scope: sync sets.
	KeepHidden
	IntersectUnion
	FirstMaskWins
	ContextInSet
	MaskedMention
	FieldWithoutRole

	// Of sync/state: indexes, and what a refused command leaves.
	AreaKeepsClient
	LengthNotNoted
	UndoLeavesIndex
	UndoLeavesRows
	RecentChangeLost
	JoinedChangeLost
	OldValueIndexed

	// Of sync/project: what a reader sees of a record.
	MaskedEncoded
	RevTellsHidden
	HiddenWriteSent
	ClearedNotSaid

	// Of sync/pull: pages, and what a device has.
	AheadStored
	AheadAssumed
	MarkTooFar
	PendingAssumed
	PurgeBeforeAck
	ForgetRemoval
	RemoveNeverGiven
	MaskChangeNotSent
	MovedNotUnsure
	ResetKeepsHeld
	LostResetSure
	PendingNotHeld
	MemoWithoutMark
	MemoKept
	CutByHidden
	LongAsShort
	ArrivalsAsChanges
	ChangesSincePage
	ChangesAmidRound

	// Of sync/apply: pulls.
	ResetNotSaid
	ContextFlagLost
	WindowStands
	AgreeByCount
	ForeignCheckpoint
	EpochForgotten
	PullsInPlace
	LiveNotWoken
	WatchStale
	ForeseenStands
	BodyOfOthers
	ChangesForAll

	// Of sync/apply: what is remembered between commands.
	StaleSyncSet
	StaleSubject
	DueUnnoticed
	UndoLeavesDevice

	// Of sync/apply: pushes and writes.
	MutationTwice
	GapAccepted
	ResultLost
	NumberTakenAgain
	DependsIgnored
	QuarantineDropped
	ReplayedInPart
	LastWriteWins
	ForeignIDs
	KeyIgnored
	KeyOfAnother
	MatchIgnored
	HiddenFound
	ReferToHidden
	DuplicateTells
	AssignAnybody
	ArgumentUnseen
	HiddenWorkStays
	LastAdministratorGoes
	AuditSkipped
	TrialTellsHidden

	// Of sync/apply and sync/tenant: sessions and devices.
	RevokedAnswered
	ReadAfterEnd
	WipeNotOrdered
	ReuseUnnoticed
	FormerUserTold

	// Of sync/oplog and sync/tenant: the log and its loop.
	AnswerUncommitted
	DraftTwice
	JournalNotSynced
	JournalCutShort
	JournalSumIgnored
	FoldKeepsDeleted
	JournalDamageCut
	FoldNotesTooMuch
	TurnUnfolded
	FrozenNotRead
	NoTick

	// Of server/rest: the module API.
	SearchForgetsHidden
	ListReadsMasked
	SortByMasked
	CursorOfAnybody
	StaleList
	CountHidden
	ExportUnmasked
	PickerListsHidden
	HiddenForbidden

	// Of the other edges: sockets, deliveries, files.
	SocketStays
	ServeExpired
	SettlesExpired
	SettledByOthers
	SendUnchecked
	PushToLive
	DownloadUnchecked

	end
)
