package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	redisv8 "github.com/go-redis/redis/v8"
	"github.com/hibiken/asynq"
	"github.com/hibiken/asynq/x/rate"
)

// forSemaphore opens the client that the last published asynq/x/rate works with.
type forSemaphore struct{ conn *connection }

func (o forSemaphore) MakeRedisClient() any {
	options := &redisv8.Options{Network: "tcp", Addr: o.conn.address, DB: o.conn.db}
	if path, found := strings.CutPrefix(o.conn.address, "unix://"); found {
		options.Network, options.Addr = "unix", path
	}
	return redisv8.NewClient(options)
}

// limiting lets a handler run only while it has a token of asynq's semaphore, "scope:tokens". A task
// that gets none fails in a way that does not count.
func limiting(conn *connection, text string, handler asynq.HandlerFunc) (asynq.HandlerFunc, error) {
	scope, number, _ := strings.Cut(text, ":")
	tokens, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("%w: --semaphore wants scope:tokens: %w", errUsage, err)
	}
	semaphore := rate.NewSemaphore(forSemaphore{conn}, scope, tokens)
	return func(ctx context.Context, task *asynq.Task) error {
		got, err := semaphore.Acquire(ctx)
		if err != nil {
			return err
		}
		if !got {
			return fmt.Errorf("no token: %w", errNotFailure)
		}
		defer semaphore.Release(ctx)
		return handler(ctx, task)
	}, nil
}
