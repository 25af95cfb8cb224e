// Load for the API benchmarks: the same client against us and the peer. It prints one JSON object with what it measured.
//
//	load -url URL -token TOKEN -work apply|update|list|page|watch [-clients N] [-seconds N] …
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	base     = flag.String("url", "", "URL of the API server")
	token    = flag.String("token", "", "bearer token")
	work     = flag.String("work", "", "apply, update, list, page, watch or fill")
	clients  = flag.Int("clients", 16, "clients at a time")
	seconds  = flag.Float64("seconds", 5, "how long")
	objects  = flag.Int("objects", 100, "objects that are written to")
	group    = flag.String("group", "bench.sampan.dev", "API group of the widgets")
	plural   = flag.String("plural", "widgets", "resource")
	kind     = flag.String("kind", "Widget", "kind")
	limit    = flag.Int("limit", 500, "page size")
	spaces   = flag.Int("namespaces", 100, "namespaces that are watched")
	watchers = flag.Int("watchers", 1000, "watches")
	rate     = flag.Int("rate", 1000, "writes a second beside the watches")
	spec     = flag.String("spec", `{"size":3,"color":"blue"}`, "spec of filled objects")
)

func client() *http.Client {
	transport := &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		MaxIdleConns:       0,
		ReadBufferSize:     64 << 10,
		MaxConnsPerHost:    0,
		DisableCompression: true,
		ForceAttemptHTTP2:  false,
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	transport.MaxIdleConnsPerHost = 4
	return &http.Client{Transport: transport}
}

func call(c *http.Client, method, path, media string, body []byte) (int, []byte, error) {
	request, err := http.NewRequest(method, *base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if *token != "" {
		request.Header.Set("Authorization", "Bearer "+*token)
	}
	if media != "" {
		request.Header.Set("Content-Type", media)
	}
	answer, err := c.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	return answer.StatusCode, read, err
}

// get reads an answer into the buffer of the worker, so that lists of megabytes are measured and not their copying here.
func get(c *http.Client, path string, into *bytes.Buffer) (int, error) {
	request, err := http.NewRequest("GET", *base+path, nil)
	if err != nil {
		return 0, err
	}
	if *token != "" {
		request.Header.Set("Authorization", "Bearer "+*token)
	}
	answer, err := c.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	into.Reset()
	if answer.ContentLength > 0 {
		into.Grow(int(answer.ContentLength) + bytes.MinRead)
	}
	_, err = into.ReadFrom(answer.Body)
	return answer.StatusCode, err
}

func home(namespace string) string {
	return fmt.Sprintf("/apis/%s/v1/namespaces/%s/%s", *group, namespace, *plural)
}

func widget(name string, size int64, color string) []byte {
	return []byte(fmt.Sprintf(
		`{"apiVersion":"%s/v1","kind":"%s","metadata":{"name":"%s","labels":{"app":"bench"}},"spec":{"size":%d,"color":"%s"}}`,
		*group, *kind, name, size, color))
}

// until runs a function in every client until the time is over, and returns how often it said that it did its work.
func until(do func(c *http.Client, worker, turn int) int) float64 {
	var done int64
	var all sync.WaitGroup
	begin := time.Now()
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	for worker := 0; worker < *clients; worker++ {
		all.Add(1)
		go func(worker int) {
			defer all.Done()
			c := client()
			for turn := 0; time.Now().Before(end); turn++ {
				atomic.AddInt64(&done, int64(do(c, worker, turn)))
			}
		}(worker)
	}
	all.Wait()
	return float64(done) / time.Since(begin).Seconds()
}

func fail(what string, code int, body []byte, err error) {
	fmt.Fprintln(os.Stderr, what, code, string(body[:min(len(body), 300)]), err)
	os.Exit(1)
}

func apply(c *http.Client, worker, turn int) int {
	name := fmt.Sprintf("applied-%d", (worker*7919+turn)%*objects)
	path := fmt.Sprintf("%s/%s?fieldManager=bench-%d&force=true", home("default"), name, worker%2)
	code, body, err := call(c, "PATCH", path, "application/apply-patch+yaml", widget(name, int64(turn), "blue"))
	if err != nil || code >= 300 && code != 409 {
		fail("apply", code, body, err)
	}
	if code == 409 {
		return 0
	}
	return 1
}

var version = regexp.MustCompile(`"resourceVersion":"(\d+)"`)

// update reads, changes and writes one of few objects that all clients fight for, until it is let.
func update(c *http.Client, worker, turn int) int {
	name := fmt.Sprintf("updated-%d", (worker+turn)%*objects)
	for {
		code, body, err := call(c, "GET", home("default")+"/"+name, "", nil)
		if code == 404 {
			call(c, "POST", home("default"), "application/json", widget(name, 0, "blue"))
			continue
		}
		found := version.FindSubmatch(body)
		if err != nil || found == nil {
			fail("get", code, body, err)
		}
		changed := fmt.Sprintf(
			`{"apiVersion":"%s/v1","kind":"%s","metadata":{"name":"%s","resourceVersion":"%s"},"spec":{"size":%d}}`,
			*group, *kind, name, found[1], time.Now().UnixMicro())
		code, body, err = call(c, "PUT", home("default")+"/"+name, "application/json", []byte(changed))
		if code == 409 {
			continue
		}
		if err != nil || code >= 300 {
			fail("update", code, body, err)
		}
		return 1
	}
}

// buffers are the workers' own: they live as long as the program.
var buffers [256]bytes.Buffer

func list(c *http.Client, worker, turn int) int {
	body := &buffers[worker]
	code, err := get(c, home("default"), body)
	if err != nil || code != 200 {
		fail("list", code, body.Bytes(), err)
	}
	return 1
}

var next = []byte(`"continue":"`)

// following returns the continue token of a page, whose metadata is at its beginning (ours) or at its end (the peer's).
func following(body []byte) string {
	for _, part := range [][]byte{body[:min(len(body), 2000)], body[max(0, len(body)-2000):]} {
		if at := bytes.Index(part, next); at >= 0 {
			rest := part[at+len(next):]
			return string(rest[:bytes.IndexByte(rest, '"')])
		}
	}
	return ""
}

func page(c *http.Client, worker, turn int) int {
	token, body := "", &buffers[worker]
	for {
		code, err := get(c, fmt.Sprintf("%s?limit=%d&continue=%s", home("default"), *limit, token), body)
		if err != nil || code != 200 {
			fail("page", code, body.Bytes(), err)
		}
		token = following(body.Bytes())
		if token == "" {
			return 1
		}
	}
}

// fill creates objects until there are as many as asked for.
func fill() {
	var made int64
	var all sync.WaitGroup
	for worker := 0; worker < *clients; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			c := client()
			for atomic.AddInt64(&made, 1) <= int64(*objects) {
				body := fmt.Sprintf(`{"apiVersion":"%s/v1","kind":"%s","metadata":{"generateName":"filled-","labels":{"app":"bench"}},"spec":%s}`,
					*group, *kind, *spec)
				code, answer, err := call(c, "POST", home("default"), "application/json", []byte(body))
				if err != nil || code != 201 {
					fail("fill", code, answer, err)
				}
			}
		}()
	}
	all.Wait()
}

var moment = regexp.MustCompile(`"color":"(\d+)"`)

// watch measures how long after the beginning of a write its event is read, over all watches.
func watch() map[string]float64 {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var lock sync.Mutex
	var lags []float64
	var open sync.WaitGroup
	measuring := int64(0)
	for number := 0; number < *watchers; number++ {
		open.Add(1)
		go func(number int) {
			c := client()
			path := home(fmt.Sprintf("bench-%d", number%*spaces)) + "?watch=1&resourceVersion=0"
			request, _ := http.NewRequestWithContext(ctx, "GET", *base+path, nil)
			if *token != "" {
				request.Header.Set("Authorization", "Bearer "+*token)
			}
			answer, err := c.Do(request)
			if err != nil {
				fail("watch", 0, nil, err)
			}
			open.Done()
			defer answer.Body.Close()
			lines := bufio.NewReaderSize(answer.Body, 4096)
			for {
				line, err := lines.ReadSlice('\n')
				if err != nil {
					return
				}
				found := moment.FindSubmatch(line)
				if found == nil || atomic.LoadInt64(&measuring) == 0 {
					continue
				}
				begun, _ := strconv.ParseInt(string(found[1]), 10, 64)
				lag := float64(time.Now().UnixMicro()-begun) / 1000
				lock.Lock()
				lags = append(lags, lag)
				lock.Unlock()
			}
		}(number)
		if number%50 == 49 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	open.Wait()
	pool := make(chan *http.Client, *clients)
	for index := 0; index < *clients; index++ {
		pool <- client()
	}
	write := func(turn int) {
		c := <-pool
		defer func() { pool <- c }()
		body := widget(fmt.Sprintf("w-%d", turn), 1, strconv.FormatInt(time.Now().UnixMicro(), 10))
		code, answer, err := call(c, "POST", home(fmt.Sprintf("bench-%d", turn%*spaces)), "application/json", body)
		if err != nil || code != 201 {
			fail("write", code, answer, err)
		}
	}
	var writing sync.WaitGroup
	begin := time.Now()
	interval := time.Second / time.Duration(*rate)
	total := int(*seconds * float64(*rate))
	warm := total / 5
	for turn := 0; turn < total; turn++ {
		if turn == warm {
			atomic.StoreInt64(&measuring, 1)
		}
		time.Sleep(time.Until(begin.Add(time.Duration(turn) * interval)))
		writing.Add(1)
		go func(turn int) { defer writing.Done(); write(turn) }(turn)
	}
	writing.Wait()
	took := time.Since(begin).Seconds()
	wanted := (total - warm) * *watchers / *spaces
	for waited := 0; waited < 200; waited++ {
		lock.Lock()
		enough := len(lags) >= wanted*99/100
		lock.Unlock()
		if enough {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	lock.Lock()
	defer lock.Unlock()
	sort.Float64s(lags)
	at := func(part float64) float64 {
		if len(lags) == 0 {
			return -1
		}
		return lags[min(len(lags)-1, int(part*float64(len(lags))))]
	}
	return map[string]float64{
		"p50": at(0.5), "p99": at(0.99), "events": float64(len(lags)), "writes": float64(total) / took,
	}
}

func main() {
	flag.Parse()
	*base = strings.TrimRight(*base, "/")
	measured := map[string]float64{}
	switch *work {
	case "apply":
		measured["rate"] = until(apply)
	case "update":
		measured["rate"] = until(update)
	case "list":
		measured["rate"] = until(list)
	case "page":
		measured["rate"] = until(page)
	case "fill":
		fill()
	case "watch":
		measured = watch()
	default:
		fail("unknown work "+*work, 0, nil, nil)
	}
	json.NewEncoder(os.Stdout).Encode(measured)
}
