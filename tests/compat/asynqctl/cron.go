package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

type cronQuestion struct {
	Spec  string `json:"spec"`
	Zone  string `json:"zone"`
	Start moment `json:"start"`
	Count int    `json:"count"`
}

// runCronNext answers each line of standard input with the next times of a spec, as
// asynq.Scheduler would compute them: RFC 3339 with the zone's offset, null when there is none.
func runCronNext(args []string) error {
	flags, _ := newFlags("cron-next")
	if err := parse(flags, args); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		question := cronQuestion{Zone: "UTC", Count: 1}
		if err := readJSON(lines.Bytes(), &question); err != nil {
			return err
		}
		times, err := question.next()
		if err != nil {
			printJSON(failure(err))
			continue
		}
		printJSON(object{"next": times})
	}
	return lines.Err()
}

func (q *cronQuestion) next() (times []any, err error) {
	// Some malformed specs make the parser panic (robfig/cron, parser.go: "TZ=" without a space).
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("panic: %v", caught)
		}
	}()
	location, err := time.LoadLocation(q.Zone)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	schedule, err := cron.ParseStandard(q.Spec)
	if err != nil {
		return nil, err
	}
	at := time.Time(q.Start).In(location)
	times = []any{}
	for range q.Count {
		at = schedule.Next(at)
		if at.IsZero() {
			return append(times, nil), nil
		}
		times = append(times, at.Format(time.RFC3339Nano))
	}
	return times, nil
}
