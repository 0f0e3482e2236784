// Package scenario holds what is shown on the cluster: each scenario does with real pods what a user does, and says what it expects.
package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"offshoot.dev/e2e/api"
	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/install"
)

// patience is how long anything may take. It is long because the machine may be busy with other work; nothing is measured by it.
const patience = 2 * time.Minute

// T is what a scenario works with. It stands for a namespace of its own.
type T struct {
	// Context ends when the run is to stop.
	Context context.Context
	// Cluster is where it runs, and Offshoot what is installed there.
	Cluster  *cluster.Cluster
	Offshoot *install.Offshoot
	// Namespace is this scenario's own.
	Namespace string
	// Report prints figures that a scenario measured.
	Report func(format string, arguments ...any)
	// Trace prints what was waited for, and how long.
	Trace func(format string, arguments ...any)
}

// failure ends a scenario.
type failure struct{ error }

// Fail ends the scenario: this is not as expected.
func (t *T) Fail(format string, arguments ...any) {
	panic(failure{fmt.Errorf(format, arguments...)})
}

// Must ends the scenario where there is an error.
func (t *T) Must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// Equal ends the scenario where the two differ.
func (t *T) Equal(what, got, want string) {
	if got != want {
		t.Fail("%s: %q instead of %q", what, got, want)
	}
}

// Eventually waits for a condition, which says what it still waits for, or nothing.
func (t *T) Eventually(what string, condition func() string) {
	began := time.Now()
	for {
		missing := condition()
		if missing == "" {
			t.Trace("%s: %s after %.1f s", t.Namespace, what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > patience {
			t.Fail("%s: not within %v: %s", what, patience, missing)
		}
		select {
		case <-t.Context.Done():
			panic(failure{t.Context.Err()})
		case <-time.After(150 * time.Millisecond):
		}
	}
}

// Apply creates or changes objects in the scenario's namespace.
func (t *T) Apply(manifests ...fmt.Stringer) {
	var all []string
	for _, manifest := range manifests {
		all = append(all, manifest.String())
	}
	t.Must(t.API().Apply(t.Context, t.Namespace, strings.Join(all, "\n---\n")))
}

// API is the administrator's access.
func (t *T) API() *api.Client { return t.Cluster.API }

// core, apps and snapshots are the paths of objects in the scenario's namespace: core("pods", "writer").
func (t *T) core(words ...string) string {
	return "/api/v1/namespaces/" + t.Namespace + "/" + strings.Join(words, "/")
}

func (t *T) group(group string, words ...string) string {
	return "/apis/" + group + "/namespaces/" + t.Namespace + "/" + strings.Join(words, "/")
}

// Get reads an object that must be there.
func (t *T) Get(path string) api.Object {
	object, err := t.API().Get(t.Context, path)
	t.Must(err)
	return object
}

// List reads a collection.
func (t *T) List(path string) []api.Object {
	objects, err := t.API().List(t.Context, path)
	t.Must(err)
	return objects
}

// WaitFor waits until the text at a path of an object is as wanted.
func (t *T) WaitFor(path, field, want string) {
	t.Eventually(path, func() string {
		object, err := t.API().Get(t.Context, path)
		if err != nil {
			return err.Error()
		}
		if got := object.Text(field); got != want {
			return fmt.Sprintf("%s is %q, not %q", field, got, want)
		}
		return ""
	})
}

// WaitRunning waits until pods are ready.
func (t *T) WaitRunning(names ...string) {
	for _, name := range names {
		t.Eventually("pod "+name+" becomes ready", func() string {
			pod, err := t.API().Get(t.Context, t.core("pods", name))
			switch {
			case err != nil:
				return err.Error()
			case pod.Condition("Ready") == "True":
				return ""
			default:
				return pod.Text("status.phase") + t.lastEvents(name)
			}
		})
	}
}

// Delete deletes objects and waits until they are gone.
func (t *T) Delete(paths ...string) {
	for _, path := range paths {
		t.Must(t.API().Delete(t.Context, path))
	}
	for _, path := range paths {
		t.Gone(path)
	}
}

// Gone waits until an object does not exist.
func (t *T) Gone(path string) {
	t.Eventually(path+" goes away", func() string {
		object, err := t.API().Get(t.Context, path)
		if err != nil {
			if strings.HasSuffix(err.Error(), api.ErrNotFound.Error()) {
				return ""
			}
			return err.Error()
		}
		return "there with finalizers " + object.Text("metadata.finalizers")
	})
}

// DeletePods deletes pods and waits until they are gone.
func (t *T) DeletePods(names ...string) {
	var paths []string
	for _, name := range names {
		paths = append(paths, t.core("pods", name))
	}
	t.Delete(paths...)
}

// deleteVolumes deletes claims and waits until their volumes are gone.
func (t *T) deleteVolumes(claims ...string) {
	var volumes []string
	for _, claim := range claims {
		path := t.core("persistentvolumeclaims", claim)
		volumes = append(volumes, "/api/v1/persistentvolumes/"+t.Get(path).Text("spec.volumeName"))
		t.Delete(path)
	}
	for _, volume := range volumes {
		t.Gone(volume)
	}
}

// Shell runs a script in a pod and returns what it prints.
func (t *T) Shell(pod, script string) string {
	output, err := t.API().Kubectl(t.Context, "", "-n", t.Namespace, "exec", pod, "--", "sh", "-ec", script)
	t.Must(err)
	return strings.TrimSpace(output)
}

// Events are the messages about an object in this namespace, in their order.
func (t *T) Events(object string) []string {
	var messages []string
	events, err := t.API().List(t.Context, t.core("events"))
	if err != nil {
		return nil
	}
	for _, event := range events {
		if event.Text("involvedObject.name") == object {
			messages = append(messages, event.Text("reason")+": "+event.Text("message"))
		}
	}
	return messages
}

func (t *T) lastEvents(object string) string {
	messages := t.Events(object)
	if len(messages) == 0 {
		return ""
	}
	return "; " + messages[len(messages)-1]
}

// WaitEvent waits for an event about an object that holds all these words.
func (t *T) WaitEvent(object string, words ...string) string {
	var found string
	t.Eventually("event about "+object, func() string {
		messages := t.Events(object)
		for _, message := range messages {
			if containsAll(message, words) {
				found = message
				return ""
			}
		}
		return fmt.Sprintf("none holds %q: %q", words, messages)
	})
	return found
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
