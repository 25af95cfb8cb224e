package main

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// An envtest suite as controller-runtime's users write it: it knows nothing of Sampan.
func TestOperator(t *testing.T) {
	ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"config"}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	m, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := setUp(m); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	api, err := client.New(config, client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("greets", func(t *testing.T) { greets(ctx, t, api) })
	t.Run("refuses", func(t *testing.T) { refuses(ctx, t, api) })
	t.Run("users", func(t *testing.T) { users(ctx, t, environment) })
}

func greets(ctx context.Context, t *testing.T, api client.Client) {
	key := types.NamespacedName{Namespace: "default", Name: "world"}
	greeting := &Greeting{Spec: GreetingSpec{Name: "world"}}
	greeting.Name, greeting.Namespace = key.Name, key.Namespace
	if err := api.Create(ctx, greeting); err != nil {
		t.Fatal(err)
	}
	written := &corev1.ConfigMap{}
	eventually(t, "a ConfigMap", func() bool { return api.Get(ctx, key, written) == nil })
	if written.Data["text"] != "Hello, world" {
		t.Errorf("the default salutation is missing: %v", written.Data)
	}
	eventually(t, "a status", func() bool { return api.Get(ctx, key, greeting) == nil && greeting.Status.Text != "" })

	patch := client.MergeFrom(greeting.DeepCopyObject().(*Greeting))
	greeting.Spec.Salutation = "Ahoy"
	if err := api.Patch(ctx, greeting, patch); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new text", func() bool {
		return api.Get(ctx, key, written) == nil && written.Data["text"] == "Ahoy, world"
	})

	if err := api.Delete(ctx, greeting); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the greeting", func() bool { return apierrors.IsNotFound(api.Get(ctx, key, greeting)) })
	if err := api.Get(ctx, types.NamespacedName{Namespace: "default", Name: "farewell-world"}, written); err != nil {
		t.Error(err)
	}
}

func refuses(ctx context.Context, t *testing.T, api client.Client) {
	nameless := &Greeting{}
	nameless.Name, nameless.Namespace = "nameless", "default"
	if err := api.Create(ctx, nameless); !apierrors.IsInvalid(err) {
		t.Errorf("a greeting of nobody was not refused: %v", err)
	}
}

func users(ctx context.Context, t *testing.T, environment *envtest.Environment) {
	user, err := environment.AddUser(envtest.User{Name: "guest", Groups: []string{"guests"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := client.New(user.Config(), client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.List(ctx, &GreetingList{}); !apierrors.IsForbidden(err) {
		t.Errorf("a guest may list greetings: %v", err)
	}
	kubectl, err := user.Kubectl()
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := kubectl.Run("version"); err != nil {
		t.Errorf("kubectl: %v: %v", err, out)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s in 15 s", what)
		}
	}
}
