package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// duration reads "1m30s" as Go does, or a number of seconds; on the command line and in JSON.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(text string) error {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		*d = duration(seconds * float64(time.Second))
		return nil
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

func (d *duration) UnmarshalJSON(data []byte) error { return setFromJSON(data, d.Set) }

// moment reads RFC 3339 text, or a number of Unix seconds.
type moment time.Time

func (m *moment) String() string { return time.Time(*m).Format(time.RFC3339Nano) }

func (m *moment) Set(text string) error {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		*m = moment(time.Unix(seconds, 0))
		return nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		*m = moment(time.UnixMicro(int64(seconds * 1e6)))
		return nil
	}
	parsed, err := time.Parse(time.RFC3339Nano, text)
	*m = moment(parsed)
	return err
}

func (m *moment) UnmarshalJSON(data []byte) error { return setFromJSON(data, m.Set) }

func setFromJSON(data []byte, set func(string) error) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	if err := set(text); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	return nil
}

var errTimeout = errors.New("did not happen in time")

// until polls because asynq has no public event for most of what happens inside its server.
func until(limit time.Duration, what string, done func() (bool, error)) error {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		ready, err := done()
		if err != nil || ready {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %s (%s)", errTimeout, what, limit)
		}
	}
}
