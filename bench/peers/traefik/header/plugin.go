// Package header sets a header of the answer.
package header

import (
	"context"
	"net/http"
)

type Config struct {
	Value string `json:"value"`
}

func CreateConfig() *Config { return &Config{} }

type mark struct {
	next  http.Handler
	value string
}

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return &mark{next, config.Value}, nil
}

func (m *mark) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	writer.Header().Set("X-Bench", m.value)
	m.next.ServeHTTP(writer, request)
}
