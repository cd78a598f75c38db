package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// session carries out operations one by one and keeps servers running in between.
type session struct {
	conn      *connection
	client    *asynq.Client
	inspector *asynq.Inspector
	raw       redis.UniversalClient
	holder    *holder
	servers   map[string]*asynq.Server
}

// operations take the whole line of input and return the result of the step.
var operations = map[string]func(*session, []byte) (any, error){
	"enqueue":       (*session).enqueue,
	"start-server":  (*session).startServer,
	"stop-server":   (*session).stopServer,
	"wait-active":   (*session).waitActive,
	"end":           (*session).end,
	"wait-inactive": (*session).waitInactive,
	"wait-queue":    (*session).waitQueue,
	"maintain":      (*session).maintain,
	"inspect":       (*session).inspect,
	"dump":          (*session).dump,
}

// step is the part that every operation has. Limits are how long a wait may take.
type step struct {
	Op    string   `json:"op"`
	Limit duration `json:"limit,omitempty"`
}

func (s *step) limit() time.Duration {
	if s.Limit == 0 {
		return 10 * time.Second
	}
	return time.Duration(s.Limit)
}

// runSteps answers every line of standard input with one line: {"ok": true, "result": ...} or
// {"ok": false, "error": ..., "kind": ...}. A failed step does not end the session.
func runSteps(args []string) error {
	flags, conn := newFlags("steps")
	if err := parse(flags, args); err != nil {
		return err
	}
	// The end of the input ends a session: only that shuts its servers down properly.
	signal.Ignore(syscall.SIGTERM)
	s := &session{
		conn:      conn,
		client:    asynq.NewClient(conn.options()),
		inspector: asynq.NewInspector(conn.options()),
		raw:       conn.raw(),
		holder:    newHolder(),
		servers:   map[string]*asynq.Server{},
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		printJSON(s.answer(line))
	}
	for _, server := range s.servers {
		server.Shutdown()
	}
	return nil
}

func (s *session) answer(line []byte) object {
	result, err := s.carryOut(line)
	if err != nil {
		answer := failure(err)
		answer["ok"] = false
		return answer
	}
	return object{"ok": true, "result": result}
}

func (s *session) carryOut(line []byte) (any, error) {
	var head step
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUsage, line, err)
	}
	operation, known := operations[head.Op]
	if !known {
		return nil, fmt.Errorf("%w: no operation %q", errUsage, head.Op)
	}
	return operation(s, line)
}

func (s *session) enqueue(line []byte) (any, error) {
	var op struct {
		step
		taskSpec
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	info, err := op.taskSpec.enqueue(s.client)
	if err != nil {
		return nil, err
	}
	return plain(info), nil
}

// startServer starts a server whose handlers wait for "end". Concurrency is 1 unless given, so
// that a second task is not taken before the first one has ended.
func (s *session) startServer(line []byte) (any, error) {
	var op struct {
		step
		Server string `json:"server"`
		serverSpec
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	if s.servers[op.Server] != nil {
		return nil, fmt.Errorf("%w: server %q is running", errUsage, op.Server)
	}
	server, id, err := startServer(s.conn, quick(op.serverSpec), asynq.HandlerFunc(s.holder.handle))
	if err != nil {
		return nil, err
	}
	s.servers[op.Server] = server
	return object{"server_id": id}, nil
}

// quick replaces those of asynq's defaults that would only make tests slow.
func quick(spec serverSpec) *serverSpec {
	if spec.Concurrency == 0 {
		spec.Concurrency = 1
	}
	if spec.TaskCheck == 0 {
		spec.TaskCheck = duration(20 * time.Millisecond)
	}
	if spec.ShutdownTimeout == 0 {
		spec.ShutdownTimeout = duration(500 * time.Millisecond)
	}
	return &spec
}

func (s *session) stopServer(line []byte) (any, error) {
	var op struct {
		step
		Server string `json:"server"`
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	server := s.servers[op.Server]
	if server == nil {
		return nil, fmt.Errorf("%w: server %q is not running", errUsage, op.Server)
	}
	delete(s.servers, op.Server)
	server.Shutdown()
	return nil, nil
}

func (s *session) waitActive(line []byte) (any, error) {
	var op struct {
		step
		ID string `json:"id"`
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	held, err := s.holder.wait(op.ID, op.limit())
	if err != nil {
		return nil, err
	}
	return held.seen, nil
}

// end answers when asynq has written the outcome, so that a dump right after it is complete.
func (s *session) end(line []byte) (any, error) {
	var op struct {
		step
		ID string `json:"id"`
		ending
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	if !slices.Contains(endings, op.How) {
		return nil, fmt.Errorf("%w: no ending %q; there are %v", errUsage, op.How, endings)
	}
	held := s.holder.find(op.ID)
	if op.ID == "" || held == nil {
		return nil, fmt.Errorf("%w: no handler holds task %q", errUsage, op.ID)
	}
	held.endings <- op.ending
	return nil, s.untilAcknowledged(held, op.limit())
}

func (s *session) untilAcknowledged(held *heldTask, limit time.Duration) error {
	return until(limit, "acknowledgement of task "+held.id, func() (bool, error) {
		// A retry may be active again at once, which then is another hold of the same ID.
		if again := s.holder.find(held.id); again != nil && again != held {
			return true, nil
		}
		return s.inactive(held.queue, held.id)
	})
}

func (s *session) inactive(queue, id string) (bool, error) {
	key := "asynq:{" + queue + "}:active"
	err := s.raw.LPos(context.Background(), key, id, redis.LPosArgs{}).Err()
	if errors.Is(err, redis.Nil) {
		return true, nil
	}
	return false, err
}

func (s *session) waitInactive(line []byte) (any, error) {
	var op struct {
		step
		ID    string `json:"id"`
		Queue string `json:"queue"`
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	return nil, until(op.limit(), "end of task "+op.ID, func() (bool, error) {
		return s.inactive(op.Queue, op.ID)
	})
}

// expectation is a set of counts as the Inspector's queue info names them.
type expectation struct {
	Queue  string         `json:"queue"`
	Counts map[string]int `json:"counts"`
}

func (s *session) untilCounts(want expectation, limit time.Duration) error {
	what := fmt.Sprintf("counts %v in queue %q", want.Counts, want.Queue)
	return until(limit, what, func() (bool, error) {
		info, err := s.inspector.GetQueueInfo(want.Queue)
		if err != nil {
			return false, err
		}
		fields := plain(info).(object)
		for name, count := range want.Counts {
			if fields[name] == nil {
				return false, fmt.Errorf("%w: no count %q", errUsage, name)
			}
			if fields[name] != count {
				return false, nil
			}
		}
		return true, nil
	})
}

func (s *session) waitQueue(line []byte) (any, error) {
	var op struct {
		step
		expectation
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	return nil, s.untilCounts(op.expectation, op.limit())
}

// maintain runs a server that takes no task, because its queues are paused, until its forwarder,
// janitor, recoverer or aggregator has brought about the counts asked for.
func (s *session) maintain(line []byte) (any, error) {
	var op struct {
		step
		Until expectation `json:"until"`
		serverSpec
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	for queue := range op.Queues {
		if s.inspector.PauseQueue(queue) == nil {
			defer s.inspector.UnpauseQueue(queue)
		}
	}
	server, _, err := startServer(s.conn, quick(op.serverSpec), asynq.HandlerFunc(s.holder.handle))
	if err != nil {
		return nil, err
	}
	defer server.Shutdown()
	return nil, s.untilCounts(op.Until, op.limit())
}

func (s *session) inspect(line []byte) (any, error) {
	var op struct {
		step
		inspection
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	return op.carryOut(s.inspector)
}

func (s *session) dump(line []byte) (any, error) {
	var op struct {
		step
		Queue string `json:"queue"`
	}
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	return dumpKeys(context.Background(), s.raw, op.Queue)
}
