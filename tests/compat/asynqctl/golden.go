package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// recorder lets asynq write each kind of message and copies the bytes it finds in Redis.
type recorder struct {
	conn   *connection
	client *asynq.Client
	raw    redis.UniversalClient
	out    string
}

// specimen is one message as asynq wrote it. Spec is what it was made from, where that is known.
type specimen struct {
	Name    string          `json:"name"`
	Spec    json.RawMessage `json:"spec,omitempty"`
	Key     string          `json:"key"`
	Hex     string          `json:"hex"`
	Message any             `json:"message"`
}

func newSpecimen(name, spec, key, value string, s schema) specimen {
	return specimen{name, json.RawMessage(spec), key, hex.EncodeToString([]byte(value)), message(s, value)}
}

func runGolden(args []string) error {
	flags, conn := newFlags("golden")
	out := flags.String("out", "", "directory to write to")
	if err := parse(flags, args); err != nil {
		return err
	}
	r := &recorder{conn, asynq.NewClient(conn.options()), conn.raw(), *out}
	defer r.client.Close()
	defer r.raw.Close()
	if size, err := r.raw.DBSize(context.Background()).Result(); err != nil || size != 0 {
		return fmt.Errorf("%w: golden needs an empty database (%d keys, %v)", errUsage, size, err)
	}
	recordings := []struct {
		file   string
		record func() (any, error)
	}{
		{"task_messages.json", r.taskMessages},
		{"unique_keys.json", r.uniqueKeys},
		{"server_and_workers.json", r.serverAndWorkers},
		{"scheduler.json", r.scheduler},
	}
	for _, recording := range recordings {
		found, err := recording.record()
		if err != nil {
			return err
		}
		if err := r.save(recording.file, found); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) save(name string, value any) error {
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), append(text, '\n'), 0o644)
}

func (r *recorder) enqueue(text string) (*asynq.TaskInfo, error) {
	spec := &taskSpec{}
	if err := readJSON([]byte(text), spec); err != nil {
		return nil, err
	}
	return spec.enqueue(r.client)
}

var enqueuedTasks = []struct{ name, spec string }{
	{"defaults", `{"type": "email:send", "payload": "{\"user_id\":42}", "id": "t-defaults"}`},
	{"nil payload", `{"type": "email:send", "id": "t-nil"}`},
	{"empty payload", `{"type": "email:send", "payload": "", "id": "t-empty"}`},
	{"binary payload", `{"type": "email:send", "payload_b64": "AP+AwvDf", "id": "t-binary"}`},
	{"payload longer than one length byte",
		`{"type": "email:send", "payload": "` + strings.Repeat("0123456789", 30) + `", "id": "t-long"}`},
	{"every text outside ASCII",
		`{"type": "почта:отправить", "payload": "é", "id": "t-ü", "queue": "warteschlange-ß", "headers": {"schlüssel": "wert €"}}`},
	{"no retries", `{"type": "email:send", "id": "t-no-retry", "max_retry": 0}`},
	{"deadline without timeout", `{"type": "email:send", "id": "t-deadline", "deadline": 4102444800}`},
	{"timeout with a fraction", `{"type": "email:send", "id": "t-timeout", "timeout": "90.9s"}`},
	{"retention", `{"type": "email:send", "id": "t-retention", "retention": "24h"}`},
	{"one header", `{"type": "email:send", "id": "t-header", "headers": {"traceparent": "00-abc-01"}}`},
	{"empty header key and value", `{"type": "email:send", "id": "t-empty-header", "headers": {"": ""}}`},
	{"two headers", `{"type": "email:send", "id": "t-headers", "headers": {"a": "1", "b": "2"}}`},
	{"group", `{"type": "email:send", "payload": "x", "id": "t-group", "queue": "low", "group": "g1"}`},
	{"scheduled", `{"type": "email:send", "id": "t-scheduled", "process_at": 4102444800}`},
	{"every option", `{"type": "email:send", "payload": "{}", "id": "t-all", "queue": "critical", "max_retry": 3,
		"timeout": "1m", "deadline": 4102444800, "unique": "1h", "retention": "1h", "group": "g1",
		"headers": {"traceparent": "00-abc-01"}}`},
}

// The type of each decides how its handler ends; see behaviours.
var handledTasks = []struct{ name, spec string }{
	{"failed once", `{"type": "fail", "payload": "boom", "id": "t-failed", "queue": "handled", "max_retry": 3}`},
	{"failed with text outside ASCII", `{"type": "fail", "payload": "kaputt: ß €", "id": "t-failed-utf8", "queue": "handled", "max_retry": 3}`},
	{"archived without retries left", `{"type": "fail", "payload": "boom", "id": "t-exhausted", "queue": "handled", "max_retry": 0}`},
	{"archived by SkipRetry", `{"type": "skip", "payload": "useless", "id": "t-skipped", "queue": "handled"}`},
	{"not a failure", `{"type": "nofail", "payload": "busy", "id": "t-nofail", "queue": "handled"}`},
	{"panicked", `{"type": "panic", "payload": "ouch", "id": "t-panicked", "queue": "handled"}`},
	{"completed", `{"type": "result", "payload": "done", "id": "t-completed", "queue": "handled", "retention": "1h"}`},
}

func (r *recorder) taskMessages() (any, error) {
	var found []specimen
	for _, task := range enqueuedTasks {
		info, err := r.enqueue(task.spec)
		if err != nil {
			return nil, err
		}
		if found, err = r.appendTask(found, task.name, task.spec, info); err != nil {
			return nil, err
		}
	}
	infos := make([]*asynq.TaskInfo, len(handledTasks))
	for i, task := range handledTasks {
		info, err := r.enqueue(task.spec)
		if err != nil {
			return nil, err
		}
		infos[i] = info
	}
	if err := r.handleAll("handled"); err != nil {
		return nil, err
	}
	for i, task := range handledTasks {
		var err error
		if found, err = r.appendTask(found, task.name, task.spec, infos[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (r *recorder) appendTask(found []specimen, name, spec string, info *asynq.TaskInfo) ([]specimen, error) {
	key := "asynq:{" + info.Queue + "}:t:" + info.ID
	value, err := r.raw.HGet(context.Background(), key, "msg").Result()
	return append(found, newSpecimen(name, spec, key, value, taskMessage)), err
}

func (r *recorder) handleAll(queue string) error {
	handler := func(ctx context.Context, task *asynq.Task) error { return behave(ctx, task, "ok") }
	spec := quick(serverSpec{Queues: map[string]int{queue: 1}})
	server, _, err := startServer(r.conn, spec, asynq.HandlerFunc(handler))
	if err != nil {
		return err
	}
	defer server.Shutdown()
	inspector := asynq.NewInspector(r.conn.options())
	defer inspector.Close()
	return until(20*time.Second, "end of all tasks", func() (bool, error) {
		info, err := inspector.GetQueueInfo(queue)
		return err == nil && info.Pending+info.Active == 0, err
	})
}

var uniqueTasks = []string{
	`{"type": "email:send", "unique": "1h", "queue": "unique"}`,
	`{"type": "email:send", "unique": "1h", "queue": "unique", "payload": ""}`,
	`{"type": "email:send", "unique": "1h", "queue": "unique", "payload": "{\"user_id\":42}"}`,
	`{"type": "email:send", "unique": "1h", "queue": "unique", "payload_b64": "AP+AwvDf"}`,
	`{"type": "почта", "unique": "1h", "queue": "unique-ß", "payload": "é"}`,
}

// uniqueKeys reads the lock's name from the database, not from the message that quotes it.
func (r *recorder) uniqueKeys() (any, error) {
	ctx := context.Background()
	var found []object
	for _, spec := range uniqueTasks {
		info, err := r.enqueue(spec)
		if err != nil {
			return nil, err
		}
		keys, err := r.raw.Keys(ctx, "asynq:*:unique:*").Result()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if holder, err := r.raw.Get(ctx, key).Result(); err != nil || holder == info.ID {
				found = append(found, object{"spec": json.RawMessage(spec), "key": key})
			}
		}
	}
	return found, nil
}

// serverAndWorkers waits for a heartbeat that knows of a task in hand: at most five seconds.
func (r *recorder) serverAndWorkers() (any, error) {
	ctx := context.Background()
	spec := &serverSpec{Queues: map[string]int{"idle": 6, "held": 1}, Strict: true, Concurrency: 4}
	holder := newHolder()
	text := `{"type": "email:send", "payload": "{}", "id": "t-held", "queue": "held", "timeout": "10m"}`
	if _, err := r.enqueue(text); err != nil {
		return nil, err
	}
	server, id, err := startServer(r.conn, spec, asynq.HandlerFunc(holder.handle))
	if err != nil {
		return nil, err
	}
	defer server.Shutdown()
	held, err := holder.wait("t-held", 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer func() { held.endings <- ending{How: "ok"} }()
	before, key, err := r.single(ctx, "asynq:servers:{*"+id+"}")
	if err != nil {
		return nil, err
	}
	found := []specimen{newSpecimen("server without workers", "", key, before, serverInfo)}
	workersKey := strings.Replace(key, ":servers:", ":workers:", 1)
	var worker string
	err = until(20*time.Second, "heartbeat with a worker", func() (bool, error) {
		values, err := r.raw.HVals(ctx, workersKey).Result()
		if len(values) > 0 {
			worker = values[0]
		}
		return worker != "", err
	})
	if err != nil {
		return nil, err
	}
	after, _, err := r.single(ctx, key)
	return append(found,
		newSpecimen("server with a worker", "", key, after, serverInfo),
		newSpecimen("worker", text, workersKey, worker, workerInfo)), err
}

// single reads the one string key that the pattern matches.
func (r *recorder) single(ctx context.Context, pattern string) (value, key string, err error) {
	keys, err := r.raw.Keys(ctx, pattern).Result()
	if err != nil || len(keys) != 1 {
		return "", "", fmt.Errorf("keys like %q: %v, %w", pattern, keys, err)
	}
	value, err = r.raw.Get(ctx, keys[0]).Result()
	return value, keys[0], err
}
