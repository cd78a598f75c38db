package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// holder is a handler that keeps every task active until it is told how the task ends, so that a
// test decides the order of events instead of hoping for it.
type holder struct {
	mu    sync.Mutex
	held  []*heldTask
	shown map[*heldTask]bool
}

type heldTask struct {
	id, queue string
	seen      object
	endings   chan ending
}

type ending struct {
	How       string  `json:"how"`
	Error     string  `json:"error,omitempty"`
	Result    *string `json:"result,omitempty"`
	ResultB64 *[]byte `json:"result_b64,omitempty"`
}

func (e *ending) result() []byte {
	return (&taskSpec{Payload: e.Result, PayloadB64: e.ResultB64}).payload()
}

// err is what the handler returns; an unknown ending is refused before it gets here.
func (e *ending) err() error {
	switch e.How {
	case "fail":
		return errors.New(e.Error)
	case "nofail":
		return fmt.Errorf("%s: %w", e.Error, errNotFailure)
	case "skip":
		return fmt.Errorf("%s: %w", e.Error, asynq.SkipRetry)
	case "revoke":
		return fmt.Errorf("%s: %w", e.Error, asynq.RevokeTask)
	case "panic":
		panic(e.Error)
	default:
		return nil
	}
}

var endings = []string{"ok", "fail", "nofail", "skip", "revoke", "panic"}

func newHolder() *holder {
	return &holder{shown: map[*heldTask]bool{}}
}

func (h *holder) handle(ctx context.Context, task *asynq.Task) error {
	seen := seenBy(ctx, task)
	held := &heldTask{
		id: seen["id"].(string), queue: seen["queue"].(string), seen: seen, endings: make(chan ending, 1),
	}
	h.add(held)
	defer h.remove(held)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case end := <-held.endings:
		if result := end.result(); result != nil {
			if err := write(task, result); err != nil {
				return err
			}
		}
		return end.err()
	}
}

func (h *holder) add(held *heldTask) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, held)
}

func (h *holder) remove(held *heldTask) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = slices.DeleteFunc(h.held, func(other *heldTask) bool { return other == held })
	delete(h.shown, held)
}

// find returns the held task with that ID or, without an ID, the first one not yet shown.
func (h *holder) find(id string) *heldTask {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		if held.id == id || id == "" && !h.shown[held] {
			return held
		}
	}
	return nil
}

func (h *holder) wait(id string, limit time.Duration) (*heldTask, error) {
	var held *heldTask
	err := until(limit, fmt.Sprintf("a handler for task %q", id), func() (bool, error) {
		held = h.find(id)
		return held != nil, nil
	})
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown[held] = true
	return held, nil
}
