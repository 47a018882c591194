// Every kind of call as an app in Go makes it; what came of each, as one JSON object. For Debian's
// golang-google-grpc-dev, which is built without modules: GO111MODULE=off GOPATH=/usr/share/gocode go build grpc.go
//
// Messages are given as the octets of their fields: text is field 1, count 3, delay_ms 4, status 5, message 6.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const echo = "/idtoken_proxy.Echo/"

// A codec of octets as they are.
type raw struct{}

func (raw) Name() string                          { return "proto" }
func (raw) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(octets []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), octets...)
	return nil
}

func text(value string) []byte { return append([]byte{0x0a, byte(len(value))}, value...) }

func message(value string) []byte { return append([]byte{0x32, byte(len(value))}, value...) }

func number(field, value int) []byte {
	octets := []byte{byte(field << 3)}
	for ; value > 127; value >>= 7 {
		octets = append(octets, byte(value&127|128))
	}
	return append(octets, byte(value))
}

// A reply begins with its text, where it has one.
func said(octets []byte) string {
	if len(octets) < 2 || octets[0] != 0x0a {
		return ""
	}
	return string(octets[2 : 2+int(octets[1])])
}

func code(err error) int { return int(status.Code(err)) }

type client struct{ *grpc.ClientConn }

func (c client) unary(ctx context.Context, path string, octets []byte, options ...grpc.CallOption) (string, error) {
	var reply []byte
	err := c.Invoke(ctx, path, &octets, &reply, options...)
	return said(reply), err
}

func (c client) stream(ctx context.Context, path string) grpc.ClientStream {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := c.NewStream(ctx, both, path)
	if err != nil {
		panic(err)
	}
	return stream
}

func (c client) all(path string, requests ...[]byte) []interface{} {
	ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	stream := c.stream(ctx, path)
	for at := range requests {
		stream.SendMsg(&requests[at])
	}
	stream.CloseSend()
	var replies []string
	for {
		var reply []byte
		err := stream.RecvMsg(&reply)
		if err == io.EOF {
			return []interface{}{0, strings.Join(replies, " ")}
		}
		if err != nil {
			return []interface{}{code(err), strings.Join(replies, " ")}
		}
		replies = append(replies, said(reply))
	}
}

func main() {
	conn, err := grpc.Dial(os.Args[1], grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		panic(err)
	}
	c := client{conn}
	ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	told := map[string][]interface{}{}

	reply, err := c.unary(ctx, echo+"Unary", text("hello"))
	told["unary"] = []interface{}{code(err), reply}

	var head, trailers metadata.MD
	asked := metadata.AppendToOutgoingContext(ctx, "x-echo-initial", "first", "x-echo-trailing-bin", "\x00\xff")
	_, err = c.unary(asked, echo+"Unary", text("a"), grpc.Header(&head), grpc.Trailer(&trailers))
	told["binary_metadata"] = []interface{}{
		code(err), head.Get("x-echo-initial")[0], hex.EncodeToString([]byte(trailers.Get("x-echo-trailing-bin")[0])),
	}

	told["server_streaming"] = c.all(echo+"ServerStream", append(text("s"), number(3, 5)...))
	told["client_streaming"] = c.all(echo+"ClientStream", text("c0"), text("c1"), text("c2"))
	told["bidi_streaming"] = c.all(echo+"BidiStream", text("b0"), text("b1"), text("b2"))
	told["empty_stream"] = c.all(echo + "BidiStream")

	_, err = c.unary(ctx, echo+"Unary", append(number(5, 9), message("\t\ntest with whitespace\r\nand Unicode BMP \u263a")...))
	told["status"] = []interface{}{code(err), status.Convert(err).Message()}
	_, err = c.unary(ctx, echo+"Nothing", text("a"))
	told["unimplemented"] = []interface{}{code(err)}

	short, end := context.WithTimeout(ctx, 200*time.Millisecond)
	_, err = c.unary(short, echo+"Unary", number(4, 5000))
	end()
	told["deadline"] = []interface{}{code(err)}

	cancelled, cancel := context.WithCancel(ctx)
	stream := c.stream(cancelled, echo+"ServerStream")
	endless := append(number(3, 1000), number(4, 20)...)
	stream.SendMsg(&endless)
	stream.CloseSend()
	var first []byte
	if err := stream.RecvMsg(&first); err != nil {
		panic(err)
	}
	cancel()
	for err = nil; err == nil; {
		err = stream.RecvMsg(&first)
	}
	told["cancel"] = []interface{}{code(err)}

	var group sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for at := 0; at < 1000; at++ {
		group.Add(1)
		go func() {
			defer group.Done()
			reply, err := c.unary(ctx, echo+"Unary", text("many"))
			lock.Lock()
			defer lock.Unlock()
			if err == nil && reply == "many" {
				good++
			}
		}()
	}
	group.Wait()
	told["many"] = []interface{}{good}

	_, err = c.unary(ctx, "/grpc.health.v1.Health/Check", nil)
	told["health"] = []interface{}{code(err)}

	evil := metadata.AppendToOutgoingContext(ctx, "origin", "http://evil.test")
	_, err = c.unary(evil, echo+"Unary", text("a"))
	told["refused"] = []interface{}{code(err), strings.Contains(err.Error(), "may not use this proxy")}

	json.NewEncoder(os.Stdout).Encode(told)
}
