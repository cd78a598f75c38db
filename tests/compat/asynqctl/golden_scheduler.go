package main

import (
	"context"
	"fmt"
	"time"
)

var schedulerEntries = []struct{ name, spec string }{
	{"never fired, no options", `{"spec": "0 0 1 1 *", "type": "email:send"}`},
	{"never fired, every option", `{"spec": "CRON_TZ=Europe/Berlin 30 4 * * 1-5", "type": "email:send",
		"payload": "{\"user_id\":42}", "queue": "low", "max_retry": 3, "timeout": "90s",
		"deadline": 4102444800, "unique": "1h30m", "process_at": 4102444800, "id": "t-entry",
		"retention": "24h", "group": "g \"1\""}`},
	{"never fired, process in", `{"spec": "@daily", "type": "email:send", "process_in": "1m1.5s"}`},
	{"fired", `{"spec": "@every 1s", "type": "email:send", "payload": "{}", "queue": "scheduled-tasks"}`},
}

// scheduler runs asynq's scheduler until the last entry has fired and been written again.
func (r *recorder) scheduler() (any, error) {
	ctx := context.Background()
	entries := make([]*entrySpec, len(schedulerEntries))
	for i, entry := range schedulerEntries {
		entries[i] = &entrySpec{}
		if err := readJSON([]byte(entry.spec), entries[i]); err != nil {
			return nil, err
		}
	}
	spec := &schedulerSpec{zone: "UTC", heartbeat: duration(time.Second)}
	scheduler, ids, err := startScheduler(r.conn, spec, entries)
	if err != nil {
		return nil, err
	}
	defer scheduler.Shutdown()

	var found []specimen
	err = until(20*time.Second, "an entry that has fired", func() (fired bool, err error) {
		found, fired, err = r.entries(ctx, ids)
		return fired, err
	})
	if err != nil {
		return nil, err
	}
	history := "asynq:scheduler_history:" + ids[len(ids)-1]
	events, err := r.raw.ZRange(ctx, history, 0, 0).Result()
	if err != nil || len(events) == 0 {
		return nil, fmt.Errorf("no event in %s: %w", history, err)
	}
	return append(found, newSpecimen("enqueue event", "", history, events[0], schedulerEnqueueEvent)), nil
}

// entries returns the entries that are in Redis now, and whether the last of them has fired.
func (r *recorder) entries(ctx context.Context, ids []string) (found []specimen, fired bool, err error) {
	keys, err := r.raw.Keys(ctx, "asynq:schedulers:{*}").Result()
	if err != nil || len(keys) != 1 {
		return nil, false, err
	}
	values, err := r.raw.LRange(ctx, keys[0], 0, -1).Result()
	if err != nil {
		return nil, false, err
	}
	for i, id := range ids {
		for _, value := range values {
			decoded, err := schedulerEntry.decode([]byte(value))
			if err != nil {
				return nil, false, err
			}
			if decoded["id"] != id {
				continue
			}
			entry := schedulerEntries[i]
			found = append(found, newSpecimen(entry.name, entry.spec, keys[0], value, schedulerEntry))
			fired = decoded["prev_enqueue_time"].(object)["seconds"].(int64) > 0
		}
	}
	return found, fired, nil
}
