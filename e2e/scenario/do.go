package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"offshoot.dev/e2e/api"
)

// Do makes the scenario's namespace and runs it there; a failure is returned.
func (t *T) Do(run func(t *T)) error {
	return t.guard(func() {
		t.Must(t.API().Apply(t.Context, "default", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+t.Namespace+
			", labels: {pod-security.kubernetes.io/enforce: baseline}}\n"))
		t.Eventually("service account", func() string {
			if _, err := t.API().Get(t.Context, t.core("serviceaccounts", "default")); err != nil {
				return err.Error()
			}
			return ""
		})
		run(t)
	})
}

// CleanUp deletes the scenario's namespace and waits until its volumes are gone too.
func (t *T) CleanUp() error {
	if errors.Is(t.Context.Err(), context.Canceled) {
		return nil
	}
	return t.guard(func() {
		// What can be waited for one by one goes first: the namespace controller waits longer than it must.
		for _, path := range []string{t.core("pods"), t.group(groups, "volumegroupsnapshots"), t.group(snapshots, "volumesnapshots"), t.core("persistentvolumeclaims")} {
			t.Must(t.API().Delete(t.Context, path))
		}
		for _, path := range []string{t.core("pods"), t.core("persistentvolumeclaims"), t.group(snapshots, "volumesnapshots")} {
			t.Eventually(path+" are gone", func() string {
				if left := t.List(path); len(left) > 0 {
					return left[0].Name() + " is there"
				}
				return ""
			})
		}
		t.Must(t.API().Delete(t.Context, "/api/v1/namespaces/"+t.Namespace))
		t.Eventually("volumes of "+t.Namespace+" go away", func() string {
			volumes, err := t.API().List(t.Context, "/api/v1/persistentvolumes")
			if err != nil {
				return err.Error()
			}
			for _, volume := range volumes {
				if volume.Text("spec.claimRef.namespace") == t.Namespace {
					return fmt.Sprintf("%s is %s%s", volume.Name(), volume.Text("status.phase"), message(volume))
				}
			}
			return ""
		})
	})
}

func message(volume api.Object) string {
	if text := volume.Text("status.message"); text != "" {
		return ": " + text
	}
	return ""
}

// guard turns the panic of a failure into an error.
func (t *T) guard(do func()) (err error) {
	defer func() {
		switch problem := recover().(type) {
		case nil:
		case failure:
			err = problem.error
		default:
			err = fmt.Errorf("panic at %s: %v", time.Now().Format(time.TimeOnly), problem)
		}
	}()
	do()
	return nil
}
