package deploy

import (
	"bytes"
	"fmt"

	groupsnapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1"
	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// Objects are what a manifest holds, decoded strictly: a field that Kubernetes 1.37 does not know is an error.
type Objects []runtime.Object

// kinds that Kubernetes itself does not have.
func init() {
	for _, add := range []func(*runtime.Scheme) error{snapshot.AddToScheme, groupsnapshot.AddToScheme} {
		if err := add(scheme.Scheme); err != nil {
			panic(err)
		}
	}
}

// Decode reads a manifest.
func Decode(manifest string) (Objects, error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all Objects
	for _, document := range documents(manifest) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, document)
		}
		if kind.GroupVersionKind().Group == "monitoring.coreos.com" {
			object, err := decodeMonitoring([]byte(document))
			if err != nil {
				return nil, err
			}
			all = append(all, object)
			continue
		}
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w in:\n%s", kind.Kind, err, document)
		}
		all = append(all, object)
	}
	return all, nil
}

// decodeMonitoring reads an object of the Prometheus operator, whose types we do not import: they bring Prometheus.
func decodeMonitoring(document []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
		return nil, fmt.Errorf("%w in:\n%s", err, bytes.TrimSpace(document))
	}
	switch kind := object.GetKind(); kind {
	case "ServiceMonitor", "PrometheusRule":
		return object, nil
	default:
		return nil, fmt.Errorf("kind %s of the Prometheus operator is not known here", kind)
	}
}

// all gives the objects of one type.
func all[T runtime.Object](objects Objects) []T {
	var found []T
	for _, object := range objects {
		if it, ok := object.(T); ok {
			found = append(found, it)
		}
	}
	return found
}

// workload is what has a pod.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	pod      core.PodTemplateSpec
}

// workloads gives the DaemonSets, StatefulSets and bare pods (those of `helm test`).
func (objects Objects) workloads() []workload {
	var found []workload
	for _, it := range all[*apps.DaemonSet](objects) {
		found = append(found, workload{it.Name, it.Spec.Selector, it.Spec.Template})
	}
	for _, it := range all[*apps.StatefulSet](objects) {
		found = append(found, workload{it.Name, it.Spec.Selector, it.Spec.Template})
	}
	for _, it := range all[*core.Pod](objects) {
		found = append(found, workload{it.Name, nil, core.PodTemplateSpec{ObjectMeta: it.ObjectMeta, Spec: it.Spec}})
	}
	return found
}

// drivers gives the workloads that run the driver.
func (objects Objects) drivers() []workload {
	var found []workload
	for _, it := range objects.workloads() {
		if container(it, "driver") != nil {
			found = append(found, it)
		}
	}
	return found
}

func container(it workload, name string) *core.Container {
	for i := range it.pod.Spec.Containers {
		if it.pod.Spec.Containers[i].Name == name {
			return &it.pod.Spec.Containers[i]
		}
	}
	return nil
}

// problems collects what a check finds.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }
