package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

// entrySpec is a task with a cron spec; the options go to the scheduler, not to the task.
type entrySpec struct {
	Spec string `json:"spec"`
	taskSpec
}

type schedulerSpec struct {
	seconds   float64
	heartbeat duration
	zone      string
}

func (s *schedulerSpec) register(flags *flag.FlagSet) {
	flags.Float64Var(&s.seconds, "seconds", 0, "leave after so many seconds (0: on a signal)")
	flags.Var(&s.heartbeat, "heartbeat", "heartbeat interval")
	flags.StringVar(&s.zone, "zone", "UTC", "time zone of the entries")
}

// options make the scheduler print a line for every task it enqueues or fails to.
func (s *schedulerSpec) options() (*asynq.SchedulerOpts, error) {
	location, err := time.LoadLocation(s.zone)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return &asynq.SchedulerOpts{
		HeartbeatInterval: time.Duration(s.heartbeat),
		Location:          location,
		LogLevel:          asynq.WarnLevel,
		PostEnqueueFunc: func(info *asynq.TaskInfo, err error) {
			if err != nil {
				printJSON(object{"event": "error", "error": failure(err)})
				return
			}
			printJSON(object{"event": "enqueued", "task": plain(info)})
		},
	}, nil
}

// wait returns on SIGTERM or SIGINT, or when the time is up.
func (s *schedulerSpec) wait(signals <-chan os.Signal) {
	select {
	case <-signals:
	case <-alarm(s.seconds):
	}
}

func terminationSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return signals
}

func runSchedule(args []string) error {
	flags, conn := newFlags("schedule")
	spec := &schedulerSpec{}
	spec.register(flags)
	var entries []*entrySpec
	flags.Func("entry", "JSON of an entry, repeatable", func(text string) error {
		entry := &entrySpec{}
		entries = append(entries, entry)
		return readJSON([]byte(text), entry)
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	signals := terminationSignals()
	scheduler, ids, err := startScheduler(conn, spec, entries)
	if err != nil {
		return err
	}
	printJSON(object{"ready": true, "pid": os.Getpid(), "entry_ids": ids})
	spec.wait(signals)
	scheduler.Shutdown()
	return nil
}

func startScheduler(conn *connection, spec *schedulerSpec, entries []*entrySpec) (*asynq.Scheduler, []string, error) {
	opts, err := spec.options()
	if err != nil {
		return nil, nil, err
	}
	scheduler := asynq.NewScheduler(conn.options(), opts)
	ids := make([]string, len(entries))
	for i, entry := range entries {
		if ids[i], err = scheduler.Register(entry.Spec, entry.task(), entry.options()...); err != nil {
			return nil, nil, err
		}
	}
	return scheduler, ids, scheduler.Start()
}

// configFile gives a PeriodicTaskManager its entries: a JSON array, read again at every sync.
type configFile string

func (path configFile) GetConfigs() ([]*asynq.PeriodicTaskConfig, error) {
	text, err := os.ReadFile(string(path))
	if err != nil {
		return nil, err
	}
	var entries []*entrySpec
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, err
	}
	configs := make([]*asynq.PeriodicTaskConfig, len(entries))
	for i, entry := range entries {
		configs[i] = &asynq.PeriodicTaskConfig{Cronspec: entry.Spec, Task: entry.task(), Opts: entry.options()}
	}
	return configs, nil
}

func runPeriodic(args []string) error {
	flags, conn := newFlags("periodic")
	spec := &schedulerSpec{}
	spec.register(flags)
	path := flags.String("config", "", "file with a JSON array of entries")
	sync := duration(3 * time.Minute)
	flags.Var(&sync, "sync", "interval between readings of the file")
	if err := parse(flags, args); err != nil {
		return err
	}
	opts, err := spec.options()
	if err != nil {
		return err
	}
	manager, err := asynq.NewPeriodicTaskManager(asynq.PeriodicTaskManagerOpts{
		RedisConnOpt:               conn.options(),
		SchedulerOpts:              opts,
		PeriodicTaskConfigProvider: configFile(*path),
		SyncInterval:               time.Duration(sync),
	})
	if err != nil {
		return err
	}
	signals := terminationSignals()
	if err := manager.Start(); err != nil {
		return err
	}
	printJSON(object{"ready": true, "pid": os.Getpid()})
	spec.wait(signals)
	manager.Shutdown()
	return nil
}
