// Package hmac lets only signed requests pass, as examples/plugins/hmac does.
package hmac

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

type Config struct {
	Keys          map[string]string `json:"keys"`
	MaxAgeSeconds int64             `json:"maxAgeSeconds"`
}

func CreateConfig() *Config { return &Config{MaxAgeSeconds: 300} }

type guard struct {
	next   http.Handler
	keys   map[string]string
	maxAge int64
}

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return &guard{next, config.Keys, config.MaxAgeSeconds}, nil
}

func (g *guard) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	name := request.Header.Get("X-Key")
	stamp := request.Header.Get("X-Timestamp")
	key, known := g.keys[name]
	signed, err := strconv.ParseInt(stamp, 10, 64)
	if !known || err != nil {
		writer.Header().Set("WWW-Authenticate", "HMAC-SHA256")
		http.Error(writer, "not signed", http.StatusUnauthorized)
		return
	}
	age := time.Now().Unix() - signed
	if g.maxAge > 0 && (age > g.maxAge || age < -g.maxAge) {
		http.Error(writer, "the signature is too old", http.StatusUnauthorized)
		return
	}
	sum := hmac.New(sha256.New, []byte(key))
	sum.Write([]byte(stamp + "\n" + request.Method + "\n" + request.URL.RequestURI()))
	wanted := hex.EncodeToString(sum.Sum(nil))
	if !hmac.Equal([]byte(wanted), []byte(request.Header.Get("X-Signature"))) {
		http.Error(writer, "the signature is wrong", http.StatusForbidden)
		return
	}
	request.Header.Set("X-User", name)
	request.Header.Del("X-Signature")
	g.next.ServeHTTP(writer, request)
}
