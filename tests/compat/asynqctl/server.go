package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// serverSpec is the configuration of an asynq server. A zero value means asynq's default.
type serverSpec struct {
	Queues          map[string]int `json:"queues,omitempty"`
	Strict          bool           `json:"strict,omitempty"`
	Concurrency     int            `json:"concurrency,omitempty"`
	TaskCheck       duration       `json:"task_check,omitempty"`
	DelayedCheck    duration       `json:"delayed_check,omitempty"`
	JanitorInterval duration       `json:"janitor_interval,omitempty"`
	RetryDelay      *duration      `json:"retry_delay,omitempty"`
	ShutdownTimeout duration       `json:"shutdown_timeout,omitempty"`
	Aggregate       bool           `json:"aggregate,omitempty"`
	AggregateType   string         `json:"aggregate_type,omitempty"`
	GroupGrace      duration       `json:"group_grace,omitempty"`
	GroupMaxDelay   duration       `json:"group_max_delay,omitempty"`
	GroupMaxSize    int            `json:"group_max_size,omitempty"`
}

func (s *serverSpec) register(flags *flag.FlagSet) {
	flags.Func("queues", "name=weight,name=weight", s.setQueues)
	flags.BoolVar(&s.Strict, "strict", false, "strict priority")
	flags.IntVar(&s.Concurrency, "concurrency", 0, "tasks at once")
	flags.Var(&s.TaskCheck, "task-check", "interval between looks at empty queues")
	flags.Var(&s.DelayedCheck, "delayed-check", "interval of the forwarder")
	flags.Var(&s.JanitorInterval, "janitor-interval", "interval of the janitor")
	flags.Func("retry-delay", "fixed delay before every retry", parsedFlag(&s.RetryDelay, (*duration).Set))
	flags.Var(&s.ShutdownTimeout, "shutdown-timeout", "how long handlers may finish")
	flags.BoolVar(&s.Aggregate, "aggregate", false, "aggregate groups: payloads joined by newlines")
	flags.StringVar(&s.AggregateType, "aggregate-type", "", "type of aggregated tasks (aggregated)")
	flags.Var(&s.GroupGrace, "group-grace", "at least 1s")
	flags.Var(&s.GroupMaxDelay, "group-max-delay", "duration")
	flags.IntVar(&s.GroupMaxSize, "group-max-size", 0, "number of tasks")
}

func (s *serverSpec) setQueues(text string) error {
	s.Queues = map[string]int{}
	for pair := range strings.SplitSeq(text, ",") {
		name, weight, found := strings.Cut(pair, "=")
		if !found {
			weight = "1"
		}
		n, err := strconv.Atoi(weight)
		if err != nil {
			return err
		}
		s.Queues[name] = n
	}
	return nil
}

// errNotFailure ends a handler with an error that the server's IsFailure does not count.
var errNotFailure = errors.New("not a failure")

func (s *serverSpec) config() asynq.Config {
	config := asynq.Config{
		Queues:                   s.Queues,
		StrictPriority:           s.Strict,
		Concurrency:              s.Concurrency,
		TaskCheckInterval:        time.Duration(s.TaskCheck),
		DelayedTaskCheckInterval: time.Duration(s.DelayedCheck),
		JanitorInterval:          time.Duration(s.JanitorInterval),
		ShutdownTimeout:          time.Duration(s.ShutdownTimeout),
		GroupGracePeriod:         time.Duration(s.GroupGrace),
		GroupMaxDelay:            time.Duration(s.GroupMaxDelay),
		GroupMaxSize:             s.GroupMaxSize,
		IsFailure:                func(err error) bool { return !errors.Is(err, errNotFailure) },
		LogLevel:                 asynq.WarnLevel,
	}
	if s.RetryDelay != nil {
		delay := time.Duration(*s.RetryDelay)
		config.RetryDelayFunc = func(int, error, *asynq.Task) time.Duration { return delay }
	}
	if s.Aggregate {
		config.GroupAggregator = asynq.GroupAggregatorFunc(s.joinPayloads)
	}
	return config
}

func (s *serverSpec) joinPayloads(_ string, tasks []*asynq.Task) *asynq.Task {
	payloads := make([][]byte, len(tasks))
	for i, task := range tasks {
		payloads[i] = task.Payload()
	}
	name := s.AggregateType
	if name == "" {
		name = "aggregated"
	}
	return asynq.NewTask(name, bytes.Join(payloads, []byte("\n")))
}

// startServer returns when the server's first heartbeat is in Redis, because Start returns
// earlier and a suite that lists servers at once would see none.
func startServer(conn *connection, spec *serverSpec, handler asynq.Handler) (*asynq.Server, string, error) {
	if grace := time.Duration(spec.GroupGrace); grace != 0 && grace < time.Second {
		return nil, "", fmt.Errorf("%w: asynq refuses a group grace period under one second", errUsage)
	}
	inspector := asynq.NewInspector(conn.options())
	defer inspector.Close()
	known, err := ownServers(inspector)
	if err != nil {
		return nil, "", err
	}
	server := asynq.NewServer(conn.options(), spec.config())
	if err := server.Start(handler); err != nil {
		return nil, "", err
	}
	var id string
	err = until(10*time.Second, "first heartbeat of the server", func() (bool, error) {
		now, err := ownServers(inspector)
		for candidate := range now {
			if !known[candidate] {
				id = candidate
			}
		}
		return id != "", err
	})
	return server, id, err
}

func ownServers(inspector *asynq.Inspector) (map[string]bool, error) {
	servers, err := inspector.Servers()
	ids := map[string]bool{}
	for _, server := range servers {
		if server.PID == os.Getpid() {
			ids[server.ID] = true
		}
	}
	return ids, err
}
