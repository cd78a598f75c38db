package main

import (
	"context"
	"sort"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// dumpKeys returns every key of asynq, or of one queue and the global ones, with all that Redis
// holds: {"type", "ttl_ms", "value"}. Lists keep their order, sorted sets are [member, score]
// pairs in order, sets are sorted. Messages are decoded.
func dumpKeys(ctx context.Context, client redis.UniversalClient, queue string) (object, error) {
	keys, err := allKeys(ctx, client, "asynq:*")
	if err != nil {
		return nil, err
	}
	dump := object{}
	for _, key := range keys {
		if queue != "" && strings.HasPrefix(key, "asynq:{") && !strings.HasPrefix(key, "asynq:{"+queue+"}:") {
			continue
		}
		entry, err := dumpKey(ctx, client, key)
		if err != nil {
			return nil, err
		}
		dump[key] = entry
	}
	return dump, nil
}

func dumpKey(ctx context.Context, client redis.UniversalClient, key string) (object, error) {
	kind, err := client.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	ttl, err := client.PTTL(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	value, err := readKey(ctx, client, key, kind)
	if err != nil {
		return nil, err
	}
	entry := object{"type": kind, "ttl_ms": nil, "value": value}
	if ttl > 0 {
		entry["ttl_ms"] = ttl / time.Millisecond
	}
	return entry, nil
}

func readKey(ctx context.Context, client redis.UniversalClient, key, kind string) (any, error) {
	switch kind {
	case "string":
		value, err := client.Get(ctx, key).Result()
		return decodeMember(key, value), err
	case "list":
		values, err := client.LRange(ctx, key, 0, -1).Result()
		return decodeMembers(key, values), err
	case "set":
		values, err := client.SMembers(ctx, key).Result()
		sort.Strings(values)
		return decodeMembers(key, values), err
	case "zset":
		values, err := client.ZRangeWithScores(ctx, key, 0, -1).Result()
		pairs := make([]any, len(values))
		for i, value := range values {
			pairs[i] = []any{decodeMember(key, value.Member.(string)), value.Score}
		}
		return pairs, err
	case "hash":
		values, err := client.HGetAll(ctx, key).Result()
		fields := object{}
		for name, value := range values {
			fields[name] = decodeField(key, name, value)
		}
		return fields, err
	default:
		return nil, nil
	}
}

func decodeField(key, name, value string) any {
	if name == "msg" && strings.Contains(key, "}:t:") {
		return message(taskMessage, value)
	}
	return decodeMember(key, value)
}

func decodeMembers(key string, values []string) []any {
	members := make([]any, len(values))
	for i, value := range values {
		members[i] = decodeMember(key, value)
	}
	return members
}

// decodeMember knows by its key what a value is. Everything not listed is plain text.
func decodeMember(key, value string) any {
	switch {
	case strings.HasPrefix(key, "asynq:servers:{"):
		return message(serverInfo, value)
	case strings.HasPrefix(key, "asynq:workers:{"):
		return message(workerInfo, value)
	case strings.HasPrefix(key, "asynq:schedulers:{"):
		return message(schedulerEntry, value)
	case strings.HasPrefix(key, "asynq:scheduler_history:"):
		return message(schedulerEnqueueEvent, value)
	default:
		return textOrBytes(value)
	}
}

// message shows what cannot be decoded instead of failing: a dump must always be possible.
func message(s schema, value string) any {
	decoded, err := s.decode([]byte(value))
	if err != nil {
		return object{"undecodable_b64": []byte(value), "error": err.Error()}
	}
	return decoded
}

func runDump(args []string) error {
	flags, conn := newFlags("dump")
	queue := flags.String("queue", "", "only this queue and the global keys")
	if err := parse(flags, args); err != nil {
		return err
	}
	client := conn.raw()
	defer client.Close()
	dump, err := dumpKeys(context.Background(), client, *queue)
	if err != nil {
		return err
	}
	printJSON(dump)
	return nil
}
