package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
)

type object = map[string]any

var stdout sync.Mutex

// printJSON writes one line. Handlers and schedulers print from many goroutines.
func printJSON(value any) {
	stdout.Lock()
	defer stdout.Unlock()
	os.Stdout.Write(encodeLine(value))
}

func encodeLine(value any) []byte {
	line, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("asynqctl: cannot print %#v: %v", value, err))
	}
	return append(line, '\n')
}

// errorKinds gives tests a word to compare with, because the texts may change between versions.
var errorKinds = []struct {
	err  error
	kind string
}{
	{asynq.ErrDuplicateTask, "duplicate"},
	{asynq.ErrTaskIDConflict, "conflict"},
	{asynq.ErrQueueNotFound, "queue-not-found"},
	{asynq.ErrQueueNotEmpty, "queue-not-empty"},
	{asynq.ErrTaskNotFound, "task-not-found"},
	{errTimeout, "timeout"},
	{errUsage, "usage"},
}

func failure(err error) object {
	kind := "other"
	for _, known := range errorKinds {
		if errors.Is(err, known.err) {
			kind = known.kind
			break
		}
	}
	return object{"error": err.Error(), "kind": kind}
}

// plain turns asynq's structs into JSON values: names in snake_case, times as Unix seconds (null
// when zero), durations as seconds, bytes as base64 under a name that ends in "_b64" (null when
// nil), states and options as asynq prints them.
func plain(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case time.Time:
		return unixSeconds(v)
	case time.Duration:
		return v.Seconds()
	case []byte:
		return v
	case *asynq.Task:
		return object{"type": v.Type(), "payload_b64": v.Payload(), "headers": v.Headers()}
	case fmt.Stringer:
		return v.String()
	}
	rv := reflect.ValueOf(value)
	switch rv.Kind() {
	case reflect.Pointer:
		return plain(rv.Elem().Interface())
	case reflect.Slice:
		items := make([]any, rv.Len())
		for i := range items {
			items[i] = plain(rv.Index(i).Interface())
		}
		return items
	case reflect.Struct:
		return plainStruct(rv)
	default:
		return value
	}
}

func plainStruct(rv reflect.Value) object {
	fields := object{}
	for i := range rv.NumField() {
		name, value := snakeCase(rv.Type().Field(i).Name), rv.Field(i).Interface()
		if _, isBytes := value.([]byte); isBytes {
			name += "_b64"
		}
		fields[name] = plain(value)
	}
	return fields
}

var wordStart = regexp.MustCompile(`([a-z])([A-Z])`)

func snakeCase(name string) string {
	return strings.ToLower(wordStart.ReplaceAllString(name, "${1}_${2}"))
}

func unixSeconds(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case t.Nanosecond() == 0:
		return t.Unix()
	default:
		return float64(t.UnixNano()) / 1e9
	}
}

// textOrBytes keeps text readable in dumps and loses nothing of what is not text.
func textOrBytes(value string) any {
	if utf8.ValidString(value) {
		return value
	}
	return object{"b64": base64.StdEncoding.EncodeToString([]byte(value))}
}
