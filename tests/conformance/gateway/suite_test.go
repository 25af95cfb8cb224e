// The official conformance suite of Gateway API, as a test of ours: see docs/gateway.md and `make conformance-gateway`.
package gateway

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
)

func TestConformance(t *testing.T) {
	// a parallel test counts as passed in the suite's report before it has run: one after the other, the report is true
	for i := range tests.ConformanceTests {
		tests.ConformanceTests[i].Parallel = false
	}
	conformance.RunConformance(t)
}
