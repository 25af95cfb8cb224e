// CoreDNS with the plugins that Kubernetes' own Corefile uses, as a user of its Go module builds one: the peer of the DNS
// benchmark.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"

	"github.com/coredns/coredns/coremain"
)

func init() {
	// the order in which CoreDNS itself has them
	dnsserver.Directives = []string{"bind", "ready", "prometheus", "errors", "loadbalance", "cache", "kubernetes", "forward"}
}

func main() {
	coremain.Run()
}
