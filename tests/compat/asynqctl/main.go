// Command asynqctl drives the real asynq from the outside, one subcommand per thing a
// compatibility suite wants done or wants to look at.
//
// What it prints on standard output is JSON: one document, or one document per line for commands
// that keep running; only "metrics" prints Prometheus text. Standard error is for asynq's own log and for usage errors.
// Exit status: 0 done, 1 asynq refused (the document has "error" and "kind"), 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"syscall"
)

// A command reads its flags from args, already split from the program's name.
type command func(args []string) error

var commands = map[string]command{
	"enqueue":      runEnqueue,
	"enqueue-many": runEnqueueMany,
	"work":         runWork,
	"schedule":     runSchedule,
	"periodic":     runPeriodic,
	"inspect":      runInspect,
	"dump":         runDump,
	"golden":       runGolden,
	"cron-next":    runCronNext,
	"metrics":      runMetrics,
	"steps":        runSteps,
	"stamp":        runStamp,
}

// errUsage marks mistakes of the caller, which must not look like an answer from asynq.
var errUsage = errors.New("usage")

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 0 || commands[args[0]] == nil {
		names := make([]string, 0, len(commands))
		for name := range commands {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: asynqctl {"+strings.Join(names, "|")+"} [flags]")
		return 2
	}
	err := commands[args[0]](args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		return 2
	default:
		printJSON(failure(err))
		return 1
	}
}

// newFlags returns a flag set that reports mistakes as errors instead of leaving the program, and
// the connection flags that nearly every command has.
func newFlags(name string) (*flag.FlagSet, *connection) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	conn := &connection{}
	conn.register(flags)
	flags.BoolFunc("with-parent", "be killed when the program that started this one ends", dieWithParent)
	return flags, conn
}

// dieWithParent keeps a test run that is killed from leaving servers behind that take tasks.
func dieWithParent(string) error {
	const setParentDeathSignal = 1
	_, _, failed := syscall.RawSyscall(syscall.SYS_PRCTL, setParentDeathSignal, uintptr(syscall.SIGKILL), 0)
	if failed != 0 {
		return failed
	}
	return nil
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(os.Stderr)
			flags.Usage()
			return err
		}
		return fmt.Errorf("%w: asynqctl %s: %w", errUsage, flags.Name(), err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: asynqctl %s: unexpected argument %q", errUsage, flags.Name(), flags.Arg(0))
	}
	return nil
}
