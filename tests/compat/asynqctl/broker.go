package main

import (
	"context"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/hibiken/asynq"
)

// What asynq's server does inside its goroutines is done here one step at a time: the calls its
// processor, forwarder, janitor, recoverer and aggregator make on asynq's broker. The broker's
// package is internal, so its methods are reached by reflection, and messages are carried around
// without a look inside.

func init() {
	operations["broker"] = (*session).broker
}

// brokerCall is one call. Which fields a call reads follows from the parameters of asynq's method.
type brokerCall struct {
	step
	Call    string   `json:"call"`
	Queue   string   `json:"queue,omitempty"`
	ID      string   `json:"id,omitempty"`
	Now     moment   `json:"now,omitempty"`
	Delay   duration `json:"delay,omitempty"`
	Error   string   `json:"error,omitempty"`
	Failure bool     `json:"failure,omitempty"`
	Result  string   `json:"result,omitempty"`
	Group   string   `json:"group,omitempty"`
	Set     string   `json:"set,omitempty"`
	Grace   duration `json:"grace,omitempty"`
	MaxWait duration `json:"max_wait,omitempty"`
	MaxSize int      `json:"max_size,omitempty"`
}

var brokerCalls = map[string]func(*session, *brokerCall) (any, error){
	"clock":      (*session).setClock,
	"dequeue":    (*session).dequeue,
	"done":       endTaken("Done"),
	"complete":   endTaken("MarkAsComplete"),
	"requeue":    endTaken("Requeue"),
	"retry":      (*session).retryTask,
	"archive":    (*session).archiveTask,
	"extend":     plainCall("ExtendLease", func(c *brokerCall) []any { return []any{c.Queue, c.ID} }),
	"result":     plainCall("WriteResult", func(c *brokerCall) []any { return []any{c.Queue, c.ID, []byte(c.Result)} }),
	"forward":    plainCall("ForwardIfReady", func(c *brokerCall) []any { return []any{c.Queue} }),
	"janitor":    plainCall("DeleteExpiredCompletedTasks", func(c *brokerCall) []any { return []any{c.Queue, 100} }),
	"recover":    (*session).recoverTasks,
	"stage":      (*session).stage,
	"delete-set": (*session).deleteSet,
}

func (s *session) broker(line []byte) (any, error) {
	var op brokerCall
	if err := readJSON(line, &op); err != nil {
		return nil, err
	}
	call, known := brokerCalls[op.Call]
	if !known {
		return nil, fmt.Errorf("%w: no broker call %q", errUsage, op.Call)
	}
	return call(s, &op)
}

// stopped is a clock that stands still: then equal steps write equal numbers.
type stopped time.Time

func (c stopped) Now() time.Time { return time.Time(c) }

var (
	brokerNow stopped
	// takenTasks are the messages of dequeued tasks, by queue and ID.
	takenTasks = map[[2]string]reflect.Value{}
)

// setClock stops the clock of client and inspector, and forgets what was dequeued so far.
func (s *session) setClock(op *brokerCall) (any, error) {
	brokerNow = stopped(op.Now)
	clear(takenTasks)
	for _, broker := range []reflect.Value{clientBroker(s.client), hidden(s.inspector, "rdb")} {
		if _, err := invoke(broker, "SetClock", brokerNow); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func clientBroker(client *asynq.Client) reflect.Value { return hidden(client, "broker").Elem() }

// hidden returns an unexported field as if it were exported.
func hidden(pointer any, field string) reflect.Value {
	found := reflect.ValueOf(pointer).Elem().FieldByName(field)
	return reflect.NewAt(found.Type(), unsafe.Pointer(found.UnsafeAddr())).Elem()
}

// invoke returns a method's results but the error, which is always the last one.
func invoke(receiver reflect.Value, method string, arguments ...any) ([]reflect.Value, error) {
	values := make([]reflect.Value, len(arguments))
	for i, argument := range arguments {
		if value, is := argument.(reflect.Value); is {
			values[i] = value
		} else {
			values[i] = reflect.ValueOf(argument)
		}
	}
	results := receiver.MethodByName(method).Call(values)
	if len(results) == 0 {
		return nil, nil
	}
	last := len(results) - 1
	err, _ := results[last].Interface().(error)
	return results[:last], err
}

func (s *session) invoke(method string, arguments ...any) ([]reflect.Value, error) {
	return invoke(clientBroker(s.client), method, arguments...)
}

func plainCall(method string, arguments func(*brokerCall) []any) func(*session, *brokerCall) (any, error) {
	return func(s *session, op *brokerCall) (any, error) {
		_, err := s.invoke(method, arguments(op)...)
		return nil, err
	}
}

func (s *session) dequeue(op *brokerCall) (any, error) {
	results, err := s.invoke("Dequeue", op.Queue)
	if err != nil {
		return nil, err
	}
	id := results[0].Elem().FieldByName("ID").String()
	takenTasks[[2]string{op.Queue, id}] = results[0]
	return id, nil
}

func taken(op *brokerCall) (reflect.Value, error) {
	message, known := takenTasks[[2]string{op.Queue, op.ID}]
	if !known {
		return message, fmt.Errorf("%w: task %q was not dequeued here", errUsage, op.ID)
	}
	return message, nil
}

func endTaken(method string) func(*session, *brokerCall) (any, error) {
	return func(s *session, op *brokerCall) (any, error) {
		message, err := taken(op)
		if err != nil {
			return nil, err
		}
		_, err = s.invoke(method, context.Background(), message)
		return nil, err
	}
}

func (s *session) retryTask(op *brokerCall) (any, error) {
	message, err := taken(op)
	if err != nil {
		return nil, err
	}
	return nil, s.retry(message, op.Delay, op.Error, op.Failure)
}

func (s *session) retry(message reflect.Value, delay duration, text string, failure bool) error {
	at := brokerNow.Now().Add(time.Duration(delay))
	_, err := s.invoke("Retry", context.Background(), message, at, text, failure)
	return err
}

func (s *session) archiveTask(op *brokerCall) (any, error) {
	message, err := taken(op)
	if err != nil {
		return nil, err
	}
	_, err = s.invoke("Archive", context.Background(), message, op.Error)
	return nil, err
}

// recoverTasks is one round of recoverer.go, with the clock that stands still.
func (s *session) recoverTasks(op *brokerCall) (any, error) {
	cutoff := brokerNow.Now().Add(-30 * time.Second)
	results, err := s.invoke("ListLeaseExpired", cutoff, op.Queue)
	if err != nil {
		return nil, err
	}
	text := asynq.ErrLeaseExpired.Error()
	for i := range results[0].Len() {
		message := results[0].Index(i)
		fields := message.Elem()
		if fields.FieldByName("Retried").Int() >= fields.FieldByName("Retry").Int() {
			_, err = s.invoke("Archive", context.Background(), message, text)
		} else {
			err = s.retry(message, op.Delay, text, true)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = s.invoke("ReclaimStaleAggregationSets", op.Queue)
	return nil, err
}

// stage returns the ID of the set that a ripe group became, or "".
func (s *session) stage(op *brokerCall) (any, error) {
	results, err := s.invoke("AggregationCheck", op.Queue, op.Group, brokerNow.Now(),
		time.Duration(op.Grace), time.Duration(op.MaxWait), op.MaxSize)
	if err != nil {
		return nil, err
	}
	return results[0].String(), nil
}

func (s *session) deleteSet(op *brokerCall) (any, error) {
	_, err := s.invoke("DeleteAggregationSet", context.Background(), op.Queue, op.Group, op.Set)
	return nil, err
}
