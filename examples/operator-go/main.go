// A small operator on controller-runtime: every Greeting gets a ConfigMap. Tests run it against Sampan.
package main

import (
	"context"
	"flag"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const finalizer = "demo.sampan.dev/farewell"

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// Reconciler keeps the ConfigMap of a Greeting as it should be.
type Reconciler struct{ client.Client }

// Reconcile looks at one Greeting.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	greeting := &Greeting{}
	if err := r.Get(ctx, request.NamespacedName, greeting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !greeting.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.farewell(ctx, greeting)
	}
	if controllerutil.AddFinalizer(greeting, finalizer) {
		if err := r.Update(ctx, greeting); err != nil {
			return ctrl.Result{}, err
		}
	}
	text := greeting.Spec.Salutation + ", " + greeting.Spec.Name
	config := &corev1.ConfigMap{}
	config.Name, config.Namespace = greeting.Name, greeting.Namespace
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, config, func() error {
		config.Data = map[string]string{"text": text}
		return controllerutil.SetControllerReference(greeting, config, r.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if greeting.Status.Text == text && greeting.Status.ObservedGeneration == greeting.Generation {
		return ctrl.Result{}, nil
	}
	greeting.Status = GreetingStatus{Text: text, ObservedGeneration: greeting.Generation}
	return ctrl.Result{}, r.Status().Update(ctx, greeting)
}

// farewell leaves a word behind before a Greeting goes.
func (r *Reconciler) farewell(ctx context.Context, greeting *Greeting) error {
	if !controllerutil.ContainsFinalizer(greeting, finalizer) {
		return nil
	}
	word := &corev1.ConfigMap{}
	word.Name, word.Namespace = "farewell-"+greeting.Name, greeting.Namespace
	if err := r.Create(ctx, word); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	controllerutil.RemoveFinalizer(greeting, finalizer)
	return r.Update(ctx, greeting)
}

// manager returns a manager with the reconciler in it.
func manager(options ctrl.Options) (ctrl.Manager, error) {
	options.Scheme = scheme()
	options.Metrics = metricsserver.Options{BindAddress: "0"}
	m, err := ctrl.NewManager(ctrl.GetConfigOrDie(), options)
	if err != nil {
		return nil, err
	}
	return m, setUp(m)
}

func setUp(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&Greeting{}).Owns(&corev1.ConfigMap{}).Complete(&Reconciler{m.GetClient()})
}

func main() {
	elect := flag.Bool("leader-elect", false, "run only while leading")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	m, err := manager(ctrl.Options{
		LeaderElection:                *elect,
		LeaderElectionID:              "greetings.demo.sampan.dev",
		LeaderElectionNamespace:       "default",
		LeaderElectionReleaseOnCancel: true,
	})
	if err == nil {
		err = m.Start(ctrl.SetupSignalHandler())
	}
	if err != nil {
		ctrl.Log.Error(err, "the operator ended")
		os.Exit(1)
	}
}
