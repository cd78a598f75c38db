package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

// runWork runs a server until SIGTERM or SIGINT, or until --count tasks have ended, or until
// --seconds have passed; it then shuts the server down as asynq does. SIGTSTP stops fetching.
func runWork(args []string) error {
	flags, conn := newFlags("work")
	spec := &serverSpec{}
	spec.register(flags)
	logPath := flags.String("log", "", "file to append a JSON line to per start and end of a task")
	count := flags.Int64("count", 0, "leave after so many tasks (0: never)")
	seconds := flags.Float64("seconds", 0, "leave after so many seconds (0: never)")
	limit := flags.String("semaphore", "", "scope:tokens of asynq/x/rate: handlers run only with a token")
	fallback := "ok"
	flags.Func("default", "behaviour for task types that do not name one (ok)", func(text string) error {
		fallback = text
		return checkBehaviour(text)
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	log, err := openJournal(*logPath)
	if err != nil {
		return err
	}

	var handled atomic.Int64
	enough := make(chan struct{})
	handler := log.recorded(func(ctx context.Context, task *asynq.Task) error {
		defer func() {
			if handled.Add(1) == *count {
				close(enough)
			}
		}()
		return behave(ctx, task, fallback)
	})
	if *limit != "" {
		if handler, err = limiting(conn, *limit, handler); err != nil {
			return err
		}
	}
	// Before the server starts: a signal that comes right after the ready line must be seen.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGTSTP)

	server, id, err := startServer(conn, spec, handler)
	if err != nil {
		return err
	}
	printJSON(object{"ready": true, "pid": os.Getpid(), "server_id": id})
	waitForEnd(server, signals, enough, *seconds)
	server.Shutdown()
	printJSON(object{"handled": handled.Load()})
	return nil
}

func waitForEnd(server *asynq.Server, signals <-chan os.Signal, enough <-chan struct{}, seconds float64) {
	for timeUp := alarm(seconds); ; {
		select {
		case got := <-signals:
			if got != syscall.SIGTSTP {
				return
			}
			server.Stop()
			printJSON(object{"stopped": true})
		case <-enough:
			return
		case <-timeUp:
			return
		}
	}
}

// alarm never rings when seconds is 0.
func alarm(seconds float64) <-chan time.Time {
	if seconds == 0 {
		return nil
	}
	return time.After(time.Duration(seconds * float64(time.Second)))
}
