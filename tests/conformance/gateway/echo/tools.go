//go:build tools

// Package echo names the client and server that the suite's tests of a mesh run in pods.
package echo

import (
	_ "istio.io/istio/pkg/test/echo/cmd/client"
	_ "istio.io/istio/pkg/test/echo/cmd/server"
)
