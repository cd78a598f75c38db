// Command asynqmonctl serves asynqmon, asynq's web interface, on a free port of loopback, which it
// prints, until its standard input ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
)

func main() {
	address := flag.String("redis", "127.0.0.1:6379", "host:port")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	handler := asynqmon.New(asynqmon.Options{RedisConnOpt: asynq.RedisClientOpt{Addr: *address}})
	go func() { log.Fatal(http.Serve(listener, handler)) }()
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}
