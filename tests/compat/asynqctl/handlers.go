package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// behaviours are what a handler can do, chosen by the first segment of the task's type ("fail",
// "fail:anything") or, for other types, by --default.
var behaviours = map[string]func(context.Context, *asynq.Task, string) error{
	"ok":   func(context.Context, *asynq.Task, string) error { return nil },
	"fail": func(_ context.Context, task *asynq.Task, _ string) error { return errors.New(textOf(task)) },
	"nofail": func(_ context.Context, task *asynq.Task, _ string) error {
		return fmt.Errorf("%s: %w", textOf(task), errNotFailure)
	},
	"skip": func(_ context.Context, task *asynq.Task, _ string) error {
		return fmt.Errorf("%s: %w", textOf(task), asynq.SkipRetry)
	},
	"revoke": func(_ context.Context, task *asynq.Task, _ string) error {
		return fmt.Errorf("%s: %w", textOf(task), asynq.RevokeTask)
	},
	"panic":  func(_ context.Context, task *asynq.Task, _ string) error { panic(textOf(task)) },
	"sleep":  sleep,
	"result": func(_ context.Context, task *asynq.Task, _ string) error { return write(task, task.Payload()) },
	"echo": func(ctx context.Context, task *asynq.Task, _ string) error {
		return write(task, encodeLine(seenBy(ctx, task)))
	},
}

func behave(ctx context.Context, task *asynq.Task, fallback string) error {
	name, argument, _ := strings.Cut(task.Type(), ":")
	behaviour, known := behaviours[name]
	if !known {
		name, argument, _ = strings.Cut(fallback, ":")
		behaviour = behaviours[name]
	}
	return behaviour(ctx, task, argument)
}

func textOf(task *asynq.Task) string {
	if len(task.Payload()) == 0 {
		return "failed"
	}
	return string(task.Payload())
}

// sleep takes its length from the type ("sleep:200ms") or else from the payload, milliseconds.
func sleep(ctx context.Context, task *asynq.Task, argument string) error {
	if argument == "" {
		argument = textOf(task) + "ms"
	}
	length, err := time.ParseDuration(argument)
	if err != nil {
		return err
	}
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func write(task *asynq.Task, result []byte) error {
	_, err := task.ResultWriter().Write(result)
	return err
}

// seenBy is everything asynq tells a handler about its task.
func seenBy(ctx context.Context, task *asynq.Task) object {
	id, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, _ := asynq.GetMaxRetry(ctx)
	deadline, _ := ctx.Deadline()
	return object{
		"id": id, "queue": queue, "retried": retried, "max_retry": maxRetry,
		"deadline": unixSeconds(deadline), "pid": os.Getpid(),
		"type": task.Type(), "payload_b64": task.Payload(), "headers": task.Headers(),
	}
}

// journal appends a line per start and end of a task. Each line is one write to a file opened
// for appending, so several programs can share the file.
type journal struct{ file *os.File }

func openJournal(path string) (*journal, error) {
	if path == "" {
		return &journal{}, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return &journal{file}, err
}

func (j *journal) write(event string, seen, more object) {
	if j.file == nil {
		return
	}
	line := object{"event": event, "time": unixSeconds(time.Now())}
	for _, part := range []object{seen, more} {
		for name, value := range part {
			line[name] = value
		}
	}
	if _, err := j.file.Write(encodeLine(line)); err != nil {
		panic(fmt.Sprintf("asynqctl: cannot write the log: %v", err))
	}
}

// recorded wraps a handler so that the journal sees how it ended, panics included.
func (j *journal) recorded(handler asynq.HandlerFunc) asynq.HandlerFunc {
	if j.file == nil {
		return handler // nothing is to be written, and benchmarks run this
	}
	return func(ctx context.Context, task *asynq.Task) (err error) {
		seen := seenBy(ctx, task)
		j.write("start", seen, nil)
		defer func() {
			caught := recover()
			switch {
			case caught != nil:
				j.write("end", seen, object{"error": fmt.Sprint(caught), "panicked": true})
				panic(caught)
			case err != nil:
				j.write("end", seen, object{"error": err.Error(), "panicked": false})
			default:
				j.write("end", seen, object{"error": nil, "panicked": false})
			}
		}()
		return handler(ctx, task)
	}
}

func checkBehaviour(text string) error {
	name, _, _ := strings.Cut(text, ":")
	if behaviours[name] == nil {
		return fmt.Errorf("no behaviour %q", text)
	}
	return nil
}
