package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// taskSpec is a task with every option asynq has. An option that is absent is not passed to
// asynq at all, so its defaults apply. No payload at all is a nil payload; "" is an empty one:
// they have different uniqueness keys.
type taskSpec struct {
	Type       string            `json:"type"`
	Payload    *string           `json:"payload,omitempty"`
	PayloadB64 *[]byte           `json:"payload_b64,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Queue      *string           `json:"queue,omitempty"`
	MaxRetry   *int              `json:"max_retry,omitempty"`
	Timeout    *duration         `json:"timeout,omitempty"`
	Deadline   *moment           `json:"deadline,omitempty"`
	Unique     *duration         `json:"unique,omitempty"`
	ProcessAt  *moment           `json:"process_at,omitempty"`
	ProcessIn  *duration         `json:"process_in,omitempty"`
	ID         *string           `json:"id,omitempty"`
	Retention  *duration         `json:"retention,omitempty"`
	Group      *string           `json:"group,omitempty"`
}

func (s *taskSpec) payload() []byte {
	switch {
	case s.PayloadB64 != nil:
		return *s.PayloadB64
	case s.Payload != nil:
		return []byte(*s.Payload)
	default:
		return nil
	}
}

func (s *taskSpec) task() *asynq.Task {
	if s.Headers == nil {
		return asynq.NewTask(s.Type, s.payload())
	}
	return asynq.NewTaskWithHeaders(s.Type, s.payload(), s.Headers)
}

func (s *taskSpec) options() []asynq.Option {
	var opts []asynq.Option
	add := func(given bool, option func() asynq.Option) {
		if given {
			opts = append(opts, option())
		}
	}
	add(s.Queue != nil, func() asynq.Option { return asynq.Queue(*s.Queue) })
	add(s.MaxRetry != nil, func() asynq.Option { return asynq.MaxRetry(*s.MaxRetry) })
	add(s.Timeout != nil, func() asynq.Option { return asynq.Timeout(time.Duration(*s.Timeout)) })
	add(s.Deadline != nil, func() asynq.Option { return asynq.Deadline(time.Time(*s.Deadline)) })
	add(s.Unique != nil, func() asynq.Option { return asynq.Unique(time.Duration(*s.Unique)) })
	add(s.ProcessAt != nil, func() asynq.Option { return asynq.ProcessAt(time.Time(*s.ProcessAt)) })
	add(s.ProcessIn != nil, func() asynq.Option { return asynq.ProcessIn(time.Duration(*s.ProcessIn)) })
	add(s.ID != nil, func() asynq.Option { return asynq.TaskID(*s.ID) })
	add(s.Retention != nil, func() asynq.Option { return asynq.Retention(time.Duration(*s.Retention)) })
	add(s.Group != nil, func() asynq.Option { return asynq.Group(*s.Group) })
	return opts
}

func (s *taskSpec) enqueue(client *asynq.Client) (*asynq.TaskInfo, error) {
	return client.Enqueue(s.task(), s.options()...)
}

func (s *taskSpec) register(flags *flag.FlagSet) {
	flags.StringVar(&s.Type, "type", "", "task type")
	flags.Func("payload", "payload as text", stringFlag(&s.Payload))
	flags.Func("payload-b64", "payload as base64", bytesFlag(&s.PayloadB64, base64.StdEncoding.DecodeString))
	flags.Func("payload-hex", "payload as hex", bytesFlag(&s.PayloadB64, hex.DecodeString))
	flags.Func("header", "key=value, repeatable", s.addHeader)
	flags.Func("queue", "queue name", stringFlag(&s.Queue))
	flags.Func("max-retry", "maximum number of retries", intFlag(&s.MaxRetry))
	flags.Func("timeout", "duration", parsedFlag(&s.Timeout, (*duration).Set))
	flags.Func("deadline", "time", parsedFlag(&s.Deadline, (*moment).Set))
	flags.Func("unique", "duration of the lock", parsedFlag(&s.Unique, (*duration).Set))
	flags.Func("process-at", "time", parsedFlag(&s.ProcessAt, (*moment).Set))
	flags.Func("process-in", "duration", parsedFlag(&s.ProcessIn, (*duration).Set))
	flags.Func("id", "task ID", stringFlag(&s.ID))
	flags.Func("retention", "duration", parsedFlag(&s.Retention, (*duration).Set))
	flags.Func("group", "group name", stringFlag(&s.Group))
}

func (s *taskSpec) addHeader(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("want key=value")
	}
	if s.Headers == nil {
		s.Headers = map[string]string{}
	}
	s.Headers[key] = value
	return nil
}

func intFlag(target **int) func(string) error {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		*target = &n
		return err
	}
}

func stringFlag(target **string) func(string) error {
	return func(text string) error {
		*target = &text
		return nil
	}
}

func bytesFlag(target **[]byte, decode func(string) ([]byte, error)) func(string) error {
	return func(text string) error {
		decoded, err := decode(text)
		*target = &decoded
		return err
	}
}

func parsedFlag[T any](target **T, set func(*T, string) error) func(string) error {
	return func(text string) error {
		*target = new(T)
		return set(*target, text)
	}
}

// readJSON refuses unknown names: a misspelt option in a test would silently test nothing.
func readJSON(data []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, data, err)
	}
	return nil
}
