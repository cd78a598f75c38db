package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/hibiken/asynq"
)

// runStamp enqueues one task for each line of standard input. Its payload says when that was:
// {"sent_ns": nanoseconds since 1970}.
func runStamp(args []string) error {
	flags, conn := newFlags("stamp")
	taskType := flags.String("type", "stamp", "type of the tasks")
	if err := parse(flags, args); err != nil {
		return err
	}
	client := asynq.NewClient(conn.options())
	defer client.Close()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		payload := fmt.Appendf(nil, `{"sent_ns":%d}`, time.Now().UnixNano())
		if _, err := client.Enqueue(asynq.NewTask(*taskType, payload)); err != nil {
			return err
		}
	}
	return lines.Err()
}
