// A generic Kubernetes API server over etcd, as a user of the Go library would build one: the peer of the API benchmarks.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	apiserver "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

func main() {
	etcd := flag.String("etcd", "http://127.0.0.1:2379", "URL of etcd")
	port := flag.Int("port", 6443, "port to serve on 127.0.0.1")
	certificates := flag.String("certificates", "", "directory for the self-signed serving certificate")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of a core API (need not answer)")
	flag.Parse()
	if err := run(*etcd, *port, *certificates, *kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(etcd string, port int, certificates, kubeconfig string) error {
	options := apiserver.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr)
	recommended := options.RecommendedOptions
	recommended.Etcd.StorageConfig.Transport.ServerList = []string{etcd}
	recommended.SecureServing.BindPort = port
	recommended.SecureServing.ServerCert.CertDirectory = certificates
	recommended.Authentication = nil // everybody may do everything: the benchmark measures the API, not its guards
	recommended.Authorization = nil
	// The library asks for a core API to look Services up for conversion webhooks; none is used here.
	recommended.CoreAPI.CoreAPIKubeconfigPath = kubeconfig
	recommended.Admission = nil
	recommended.Features.EnablePriorityAndFairness = false // it would need a core API
	options.APIEnablement.RuntimeConfig = map[string]string{}
	if err := options.Complete(); err != nil {
		return err
	}
	config, err := options.Config()
	if err != nil {
		return err
	}
	server, err := config.Complete().New(genericapiserver.NewEmptyDelegate())
	if err != nil {
		return err
	}
	return server.GenericAPIServer.PrepareRun().RunWithContext(context.Background())
}
