package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

func runEnqueue(args []string) error {
	flags, conn := newFlags("enqueue")
	spec := &taskSpec{}
	spec.register(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	client := asynq.NewClient(conn.options())
	defer client.Close()
	info, err := spec.enqueue(client)
	if err != nil {
		return err
	}
	printJSON(plain(info))
	return nil
}

// runEnqueueMany puts copies of one task. With --id the copies are called ID-0, ID-1 and so on.
func runEnqueueMany(args []string) error {
	flags, conn := newFlags("enqueue-many")
	spec := &taskSpec{}
	spec.register(flags)
	count := flags.Int("count", 100, "how many")
	goroutines := flags.Int("goroutines", 4, "how many at once")
	if err := parse(flags, args); err != nil {
		return err
	}
	client := asynq.NewClient(conn.options())
	defer client.Close()

	started := time.Now()
	ids, errs := enqueueCopies(client, *spec, *count, *goroutines)
	printJSON(object{"ids": ids, "errors": errs, "seconds": time.Since(started).Seconds()})
	return nil
}

func enqueueCopies(client *asynq.Client, spec taskSpec, count, goroutines int) ([]string, []object) {
	numbers := make(chan int)
	var mu sync.Mutex
	var workers sync.WaitGroup
	ids, errs := make([]string, 0, count), []object{}
	for range goroutines {
		workers.Go(func() {
			for number := range numbers {
				info, err := numbered(spec, number).enqueue(client)
				mu.Lock()
				if err != nil {
					errs = append(errs, failure(err))
				} else {
					ids = append(ids, info.ID)
				}
				mu.Unlock()
			}
		})
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
	return ids, errs
}

func numbered(spec taskSpec, number int) *taskSpec {
	if spec.ID != nil {
		id := fmt.Sprintf("%s-%d", *spec.ID, number)
		spec.ID = &id
	}
	return &spec
}
