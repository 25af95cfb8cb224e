// Package body takes fields out of JSON answers, as examples/plugins/body does.
package body

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

type Config struct {
	Remove []string `json:"remove"`
}

func CreateConfig() *Config { return &Config{} }

type rewrite struct {
	next   http.Handler
	remove map[string]bool
}

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	remove := map[string]bool{}
	for _, name := range config.Remove {
		remove[name] = true
	}
	return &rewrite{next, remove}, nil
}

type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *held) WriteHeader(status int) { h.status = status }

func (h *held) Write(data []byte) (int, error) { return h.body.Write(data) }

func (r *rewrite) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	answer := &held{ResponseWriter: writer, status: http.StatusOK}
	r.next.ServeHTTP(answer, request)
	data := answer.body.Bytes()
	header := writer.Header()
	if strings.HasPrefix(header.Get("Content-Type"), "application/json") && header.Get("Content-Encoding") == "" {
		var value interface{}
		if json.Unmarshal(data, &value) == nil {
			if made, err := json.Marshal(r.cleaned(value)); err == nil {
				data = made
			}
		}
		header.Set("Content-Length", strconv.Itoa(len(data)))
	}
	writer.WriteHeader(answer.status)
	writer.Write(data)
}

func (r *rewrite) cleaned(value interface{}) interface{} {
	switch typed := value.(type) {
	case map[string]interface{}:
		for name, item := range typed {
			if r.remove[name] {
				delete(typed, name)
			} else {
				typed[name] = r.cleaned(item)
			}
		}
	case []interface{}:
		for place, item := range typed {
			typed[place] = r.cleaned(item)
		}
	}
	return value
}
