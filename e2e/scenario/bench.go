package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"offshoot.dev/e2e/api"
)

// benchPods is how many pods start at once, with a claim each.
const benchPods = 50

// phases of the start of a pod with a volume, in their order. What we do is a part of the second and the fourth.
var phases = []string{"scheduler chooses the node", "provisioner makes the volume", "scheduler binds the pod", "kubelet starts the pod", "claim to running pod"}

// moments are when a pod and its claim were first seen in a state; the API itself tells time in whole seconds only.
type moments struct{ created, selected, bound, scheduled, ready time.Time }

// podStart measures how long it takes from a claim to a running pod, and what that time is spent on.
func podStart(t *T) {
	seen := map[string]*moments{}
	var manifests []fmt.Stringer
	for i := range benchPods {
		name := fmt.Sprintf("p%02d", i)
		seen[name] = &moments{}
		manifests = append(manifests, claim{name: name, size: "64Mi"}, pod{name: name, claims: []string{name}})
	}
	before := t.Offshoot.Operations(t.Context)
	changes := t.watch(t.core("persistentvolumeclaims"), t.core("pods"))
	t.Apply(manifests...)
	deadline := time.After(3 * patience)
	for ready := 0; ready < benchPods; {
		select {
		case change := <-changes:
			if it := seen[change.object.Name()]; it != nil && it.note(change) {
				ready++
			}
		case <-deadline:
			t.Fail("%d of %d pods are ready", ready, benchPods)
		case <-t.Context.Done():
			t.Must(t.Context.Err())
		}
	}
	times := map[string][]time.Duration{}
	for _, it := range seen {
		for i, span := range []time.Duration{it.selected.Sub(it.created), it.bound.Sub(it.selected), it.scheduled.Sub(it.bound), it.ready.Sub(it.scheduled), it.ready.Sub(it.created)} {
			times[phases[i]] = append(times[phases[i]], span)
		}
	}
	t.Report("%d pods", benchPods)
	for _, phase := range phases {
		t.Report("\n       %-30s p50 %6.2f s  p99 %6.2f s", phase, quantile(times[phase], 0.50), quantile(times[phase], 0.99))
	}
	t.reportOurs(before, t.Offshoot.Operations(t.Context))
}

// note keeps the first time of each state; it tells whether the pod has just become ready.
func (m *moments) note(c change) bool {
	first := func(at *time.Time, is bool) bool {
		if is && at.IsZero() {
			*at = c.at
			return true
		}
		return false
	}
	if c.object.Text("kind") == "PersistentVolumeClaim" {
		first(&m.created, true)
		first(&m.selected, c.object.Annotation("volume.kubernetes.io/selected-node") != "")
		first(&m.bound, c.object.Text("status.phase") == "Bound")
		return false
	}
	first(&m.scheduled, c.object.Condition("PodScheduled") == "True")
	return first(&m.ready, c.object.Condition("Ready") == "True")
}

type change struct {
	object api.Object
	at     time.Time
}

// watch tells every change of the objects of these collections, and when it was seen.
func (t *T) watch(paths ...string) <-chan change {
	changes := make(chan change, 10000)
	for _, path := range paths {
		watch, err := t.API().Watch(t.Context, path)
		t.Must(err)
		go func() {
			for object := range watch {
				changes <- change{object, time.Now()}
			}
		}()
	}
	return changes
}

// reportOurs says what the driver's own metric says about the same time.
func (t *T) reportOurs(before, after map[string][2]float64) {
	var total float64
	var lines []string
	for _, method := range slices.Sorted(maps.Keys(after)) {
		count, seconds := after[method][0]-before[method][0], after[method][1]-before[method][1]
		if count == 0 || !strings.Contains("CreateVolume NodeStageVolume NodePublishVolume ControllerPublishVolume", method) {
			continue
		}
		total += seconds
		lines = append(lines, fmt.Sprintf("%s %.1f ms x %.0f", method, 1000*seconds/count, count))
	}
	t.Report("\n       ours: %.1f ms for each pod: %s", 1000*total/benchPods, strings.Join(lines, ", "))
}

// quantile is that of times, in seconds.
func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))].Seconds()
}
