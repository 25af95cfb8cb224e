//go:build tools

// Package gateway names what the suite needs besides itself: the server that its pods run.
package gateway

import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
