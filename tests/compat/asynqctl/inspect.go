package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"sort"
	"strings"

	"github.com/hibiken/asynq"
)

// inspection is one call of asynq's Inspector. Which fields a verb reads follows from the
// Inspector's own parameters.
type inspection struct {
	Verb       string  `json:"verb"`
	Queue      string  `json:"queue,omitempty"`
	ID         string  `json:"id,omitempty"`
	Group      string  `json:"group,omitempty"`
	Page       *int    `json:"page,omitempty"`
	PageSize   *int    `json:"page_size,omitempty"`
	Days       int     `json:"days,omitempty"`
	Force      bool    `json:"force,omitempty"`
	Payload    *string `json:"payload,omitempty"`
	PayloadB64 *[]byte `json:"payload_b64,omitempty"`
}

func (i *inspection) register(flags *flag.FlagSet) {
	flags.StringVar(&i.Queue, "queue", "default", "queue name")
	flags.StringVar(&i.ID, "id", "", "task ID, or scheduler entry ID for enqueue-events")
	flags.StringVar(&i.Group, "group", "", "group name")
	flags.Func("page", "page of a list, from 1", intFlag(&i.Page))
	flags.Func("page-size", "tasks on a page", intFlag(&i.PageSize))
	flags.IntVar(&i.Days, "days", 7, "days of history")
	flags.BoolVar(&i.Force, "force", false, "delete a queue that is not empty")
	flags.Func("payload", "new payload as text", stringFlag(&i.Payload))
	flags.Func("payload-b64", "new payload as base64", bytesFlag(&i.PayloadB64, base64.StdEncoding.DecodeString))
}

func (i *inspection) listOptions() []asynq.ListOption {
	var opts []asynq.ListOption
	if i.Page != nil {
		opts = append(opts, asynq.Page(*i.Page))
	}
	if i.PageSize != nil {
		opts = append(opts, asynq.PageSize(*i.PageSize))
	}
	return opts
}

// payload follows the same rule as a task's: absent is nil, "" is empty.
func (i *inspection) payload() []byte {
	return (&taskSpec{Payload: i.Payload, PayloadB64: i.PayloadB64}).payload()
}

type verb func(*asynq.Inspector, *inspection) (any, error)

type (
	queueCall[R any] = func(*asynq.Inspector, string) (R, error)
	groupCall        = func(ins *asynq.Inspector, queue, group string) (int, error)
	taskCall         = func(ins *asynq.Inspector, queue, id string) error
	listCall         = func(*asynq.Inspector, string, ...asynq.ListOption) ([]*asynq.TaskInfo, error)
)

var verbs = map[string]verb{
	"queues":     func(ins *asynq.Inspector, _ *inspection) (any, error) { return ins.Queues() },
	"queue-info": ofQueue((*asynq.Inspector).GetQueueInfo),
	"groups":     ofQueue((*asynq.Inspector).Groups),
	"history":    func(ins *asynq.Inspector, i *inspection) (any, error) { return ins.History(i.Queue, i.Days) },
	"task-info":  func(ins *asynq.Inspector, i *inspection) (any, error) { return ins.GetTaskInfo(i.Queue, i.ID) },

	"list-pending":   list((*asynq.Inspector).ListPendingTasks),
	"list-active":    list((*asynq.Inspector).ListActiveTasks),
	"list-scheduled": list((*asynq.Inspector).ListScheduledTasks),
	"list-retry":     list((*asynq.Inspector).ListRetryTasks),
	"list-archived":  list((*asynq.Inspector).ListArchivedTasks),
	"list-completed": list((*asynq.Inspector).ListCompletedTasks),
	"list-aggregating": func(ins *asynq.Inspector, i *inspection) (any, error) {
		return ins.ListAggregatingTasks(i.Queue, i.Group, i.listOptions()...)
	},

	"run":     ofTask((*asynq.Inspector).RunTask),
	"archive": ofTask((*asynq.Inspector).ArchiveTask),
	"delete":  ofTask((*asynq.Inspector).DeleteTask),
	"update-payload": func(ins *asynq.Inspector, i *inspection) (any, error) {
		return nil, ins.UpdateTaskPayload(i.Queue, i.ID, i.payload())
	},
	"cancel": func(ins *asynq.Inspector, i *inspection) (any, error) { return nil, ins.CancelProcessing(i.ID) },

	"run-all-scheduled":       ofQueue((*asynq.Inspector).RunAllScheduledTasks),
	"run-all-retry":           ofQueue((*asynq.Inspector).RunAllRetryTasks),
	"run-all-archived":        ofQueue((*asynq.Inspector).RunAllArchivedTasks),
	"run-all-aggregating":     ofGroup((*asynq.Inspector).RunAllAggregatingTasks),
	"archive-all-pending":     ofQueue((*asynq.Inspector).ArchiveAllPendingTasks),
	"archive-all-scheduled":   ofQueue((*asynq.Inspector).ArchiveAllScheduledTasks),
	"archive-all-retry":       ofQueue((*asynq.Inspector).ArchiveAllRetryTasks),
	"archive-all-aggregating": ofGroup((*asynq.Inspector).ArchiveAllAggregatingTasks),
	"delete-all-pending":      ofQueue((*asynq.Inspector).DeleteAllPendingTasks),
	"delete-all-scheduled":    ofQueue((*asynq.Inspector).DeleteAllScheduledTasks),
	"delete-all-retry":        ofQueue((*asynq.Inspector).DeleteAllRetryTasks),
	"delete-all-archived":     ofQueue((*asynq.Inspector).DeleteAllArchivedTasks),
	"delete-all-completed":    ofQueue((*asynq.Inspector).DeleteAllCompletedTasks),
	"delete-all-aggregating":  ofGroup((*asynq.Inspector).DeleteAllAggregatingTasks),

	"pause":   func(ins *asynq.Inspector, i *inspection) (any, error) { return nil, ins.PauseQueue(i.Queue) },
	"unpause": func(ins *asynq.Inspector, i *inspection) (any, error) { return nil, ins.UnpauseQueue(i.Queue) },
	"delete-queue": func(ins *asynq.Inspector, i *inspection) (any, error) {
		return nil, ins.DeleteQueue(i.Queue, i.Force)
	},
	"servers":           func(ins *asynq.Inspector, _ *inspection) (any, error) { return ins.Servers() },
	"scheduler-entries": func(ins *asynq.Inspector, _ *inspection) (any, error) { return ins.SchedulerEntries() },
	"enqueue-events": func(ins *asynq.Inspector, i *inspection) (any, error) {
		return ins.ListSchedulerEnqueueEvents(i.ID, i.listOptions()...)
	},
	"cluster-key-slot": ofQueue((*asynq.Inspector).ClusterKeySlot),
}

func ofQueue[R any](call queueCall[R]) verb {
	return func(ins *asynq.Inspector, i *inspection) (any, error) { return call(ins, i.Queue) }
}

func ofGroup(call groupCall) verb {
	return func(ins *asynq.Inspector, i *inspection) (any, error) { return call(ins, i.Queue, i.Group) }
}

func ofTask(call taskCall) verb {
	return func(ins *asynq.Inspector, i *inspection) (any, error) { return nil, call(ins, i.Queue, i.ID) }
}

func list(call listCall) verb {
	return func(ins *asynq.Inspector, i *inspection) (any, error) {
		return call(ins, i.Queue, i.listOptions()...)
	}
}

// carryOut answers with the Inspector's result, or null for methods that return only an error.
func (i *inspection) carryOut(inspector *asynq.Inspector) (any, error) {
	call, known := verbs[i.Verb]
	if !known {
		return nil, fmt.Errorf("%w: no inspector verb %q; there are: %s", errUsage, i.Verb, verbNames())
	}
	result, err := call(inspector, i)
	if err != nil {
		return nil, err
	}
	return plain(result), nil
}

func verbNames() string {
	names := make([]string, 0, len(verbs))
	for name := range verbs {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

func runInspect(args []string) error {
	flags, conn := newFlags("inspect")
	call := &inspection{}
	call.register(flags)
	if len(args) == 0 {
		return fmt.Errorf("%w: asynqctl inspect VERB [flags]; verbs: %s", errUsage, verbNames())
	}
	call.Verb = args[0]
	if err := parse(flags, args[1:]); err != nil {
		return err
	}
	inspector := asynq.NewInspector(conn.options())
	defer inspector.Close()
	result, err := call.carryOut(inspector)
	if err != nil {
		return err
	}
	printJSON(result)
	return nil
}
