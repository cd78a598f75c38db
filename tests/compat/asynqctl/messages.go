package main

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// asynq's generated protobuf types are internal to it, so the five messages are described here
// once more, after internal/proto/asynq.proto, and read with the wire-level decoder.

type fieldKind int

const (
	textField fieldKind = iota
	bytesField
	numberField
	boolField
	timeField
	textListField
	textMapField
	numberMapField
)

type field struct {
	name string
	kind fieldKind
}

type schema map[protowire.Number]field

var taskMessage = schema{
	1: {"type", textField}, 2: {"payload_b64", bytesField}, 3: {"id", textField},
	4: {"queue", textField}, 5: {"retry", numberField}, 6: {"retried", numberField},
	7: {"error_msg", textField}, 8: {"timeout", numberField}, 9: {"deadline", numberField},
	10: {"unique_key", textField}, 11: {"last_failed_at", numberField},
	12: {"retention", numberField}, 13: {"completed_at", numberField},
	14: {"group_key", textField}, 15: {"headers", textMapField},
}

var serverInfo = schema{
	1: {"host", textField}, 2: {"pid", numberField}, 3: {"server_id", textField},
	4: {"concurrency", numberField}, 5: {"queues", numberMapField},
	6: {"strict_priority", boolField}, 7: {"status", textField},
	8: {"start_time", timeField}, 9: {"active_worker_count", numberField},
}

var workerInfo = schema{
	1: {"host", textField}, 2: {"pid", numberField}, 3: {"server_id", textField},
	4: {"task_id", textField}, 5: {"task_type", textField}, 6: {"task_payload_b64", bytesField},
	7: {"queue", textField}, 8: {"start_time", timeField}, 9: {"deadline", timeField},
}

var schedulerEntry = schema{
	1: {"id", textField}, 2: {"spec", textField}, 3: {"task_type", textField},
	4: {"task_payload_b64", bytesField}, 5: {"enqueue_options", textListField},
	6: {"next_enqueue_time", timeField}, 7: {"prev_enqueue_time", timeField},
}

var schedulerEnqueueEvent = schema{1: {"task_id", textField}, 2: {"enqueue_time", timeField}}

// The entries of protobuf maps, and google.protobuf.Timestamp, are messages themselves.
var (
	textMapEntry   = schema{1: {"key", textField}, 2: {"value", textField}}
	numberMapEntry = schema{1: {"key", textField}, 2: {"value", numberField}}
	timestamp      = schema{1: {"seconds", numberField}, 2: {"nanos", numberField}}
)

var errWireType = errors.New("a field has an unexpected wire type or is not in the schema")

// decode returns every field of the schema, those that are absent with their proto3 default.
// Timestamps are {"seconds", "nanos"}, or null when absent. A field outside the schema is an
// error: it would mean that this program describes another version of asynq.
func (s schema) decode(data []byte) (object, error) {
	message := object{}
	for _, f := range s {
		message[f.name] = f.zero()
	}
	for len(data) > 0 {
		number, wireType, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		f, known := s[number]
		if !known {
			return nil, errWireType
		}
		data = data[n:]
		n, err := f.consume(message, wireType, data)
		if err != nil {
			return nil, err
		}
		data = data[n:]
	}
	return message, nil
}

func (f field) zero() any {
	switch f.kind {
	case textField:
		return ""
	case bytesField:
		return []byte{}
	case numberField:
		return int64(0)
	case boolField:
		return false
	case textListField:
		return []string{}
	case textMapField, numberMapField:
		return object{}
	default:
		return nil
	}
}

func (f field) consume(message object, wireType protowire.Type, data []byte) (int, error) {
	switch wireType {
	case protowire.VarintType:
		value, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		switch f.kind {
		case numberField:
			message[f.name] = int64(value)
		case boolField:
			message[f.name] = protowire.DecodeBool(value)
		default:
			return 0, errWireType
		}
		return n, nil
	case protowire.BytesType:
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		return n, f.setBytes(message, value)
	default:
		return 0, errWireType
	}
}

func (f field) setBytes(message object, value []byte) error {
	switch f.kind {
	case textField:
		message[f.name] = string(value)
	case bytesField:
		message[f.name] = value
	case textListField:
		message[f.name] = append(message[f.name].([]string), string(value))
	case textMapField:
		return f.addEntry(message, textMapEntry, value)
	case numberMapField:
		return f.addEntry(message, numberMapEntry, value)
	case timeField:
		inner, err := timestamp.decode(value)
		message[f.name] = inner
		return err
	default:
		return errWireType
	}
	return nil
}

func (f field) addEntry(message object, entries schema, value []byte) error {
	entry, err := entries.decode(value)
	if err == nil {
		message[f.name].(object)[entry["key"].(string)] = entry["value"]
	}
	return err
}
