// An http-wasm guest with Go's own compiler: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared.
// It marks requests, refuses some, and puts bodies of both directions into capitals.
package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"unsafe"
)

const request, response = 0, 1

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func getConfig(at unsafe.Pointer, most uint32) uint32

//go:wasmimport http_handler get_uri
func getURI(at unsafe.Pointer, most uint32) uint32

//go:wasmimport http_handler set_uri
func setURI(at unsafe.Pointer, size uint32)

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name unsafe.Pointer, nameSize uint32, at unsafe.Pointer, most uint32) uint64

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, valueSize uint32)

//go:wasmimport http_handler read_body
func readBody(kind uint32, at unsafe.Pointer, most uint32) uint64

//go:wasmimport http_handler write_body
func writeBody(kind uint32, at unsafe.Pointer, size uint32)

//go:wasmimport http_handler set_status_code
func setStatusCode(status uint32)

var buffer [4096]byte
var settings struct{ Mark, Deny string }

func init() {
	enableFeatures(3)
	size := getConfig(unsafe.Pointer(&buffer), uint32(len(buffer)))
	if err := json.Unmarshal(buffer[:size], &settings); err != nil {
		panic(err)
	}
}

func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func uri() string {
	size := getURI(unsafe.Pointer(&buffer), uint32(len(buffer)))
	return string(buffer[:size])
}

func set(kind uint32, name, value string) {
	n, ns := text(name)
	v, vs := text(value)
	setHeaderValue(kind, n, ns, v, vs)
}

func capitals(kind uint32) {
	var body []byte
	for {
		got := readBody(kind, unsafe.Pointer(&buffer), uint32(len(buffer)))
		body = append(body, buffer[:uint32(got)]...)
		if got>>32 != 0 {
			break
		}
	}
	if body = bytes.ToUpper(body); len(body) > 0 {
		writeBody(kind, unsafe.Pointer(&body[0]), uint32(len(body)))
	}
}

//go:wasmexport handle_request
func handleRequest() uint64 {
	switch asked := uri(); {
	case strings.HasSuffix(asked, settings.Deny):
		setStatusCode(403)
		set(response, "x-guest", settings.Mark)
		at, size := text("not you\n")
		writeBody(response, at, size)
		return 0
	case strings.HasSuffix(asked, "?panics"):
		panic("on purpose")
	case strings.HasSuffix(asked, "?loops"):
		for {
			buffer[0]++
		}
	case strings.HasSuffix(asked, "?leaks"):
		kept := [][]byte{}
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case strings.HasSuffix(asked, "?rewrites"):
		at, size := text("/go/new?a=b")
		setURI(at, size)
	}
	set(request, "x-in", settings.Mark)
	capitals(request)
	return 1<<32 | 1
}

//go:wasmexport handle_response
func handleResponse(word, failed uint32) {
	name, size := text("content-type")
	got := getHeaderValues(response, name, size, unsafe.Pointer(&buffer), uint32(len(buffer)))
	set(response, "x-was", string(buffer[:max(1, uint32(got))-1]))
	set(response, "x-guest", settings.Mark)
	capitals(response)
}

func main() {}
