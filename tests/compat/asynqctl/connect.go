package main

import (
	"context"
	"flag"
	"strings"
	"sync"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// connection is where Redis is: "host:port", "unix:///path/of/socket" or
// "cluster:host:port,host:port", and a database number.
type connection struct {
	address string
	db      int
}

func (c *connection) register(flags *flag.FlagSet) {
	flags.StringVar(&c.address, "redis", "127.0.0.1:6379", "host:port, unix:///path or cluster:host:port,...")
	flags.IntVar(&c.db, "db", 0, "database number")
}

func (c *connection) options() asynq.RedisConnOpt {
	if nodes, found := strings.CutPrefix(c.address, "cluster:"); found {
		return asynq.RedisClusterClientOpt{Addrs: strings.Split(nodes, ",")}
	}
	if path, found := strings.CutPrefix(c.address, "unix://"); found {
		return asynq.RedisClientOpt{Network: "unix", Addr: path, DB: c.db}
	}
	return asynq.RedisClientOpt{Network: "tcp", Addr: c.address, DB: c.db}
}

// raw returns a plain client, for looking at keys that asynq's API does not show.
func (c *connection) raw() redis.UniversalClient {
	return c.options().MakeRedisClient().(redis.UniversalClient)
}

// allKeys asks every master of a cluster, where KEYS alone would answer for one of them.
func allKeys(ctx context.Context, client redis.UniversalClient, pattern string) ([]string, error) {
	cluster, isCluster := client.(*redis.ClusterClient)
	if !isCluster {
		return client.Keys(ctx, pattern).Result()
	}
	var mu sync.Mutex
	var all []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		keys, err := master.Keys(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, keys...)
		return err
	})
	return all, err
}
