package deploy

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// CheckReferences finds names that lead nowhere: accounts, roles, claims, volumes, ports, selectors, classes.
func CheckReferences(objects Objects) []string {
	var found problems
	checkAccounts(objects, &found)
	checkVolumes(objects, &found)
	checkPorts(objects, &found)
	checkSelectors(objects, &found)
	checkDriverName(objects, &found)
	return found
}

func names[T interface {
	GetName() string
}](objects []T) []string {
	var found []string
	for _, it := range objects {
		found = append(found, it.GetName())
	}
	return found
}

func checkAccounts(objects Objects, found *problems) {
	accounts := names(all[*core.ServiceAccount](objects))
	for _, it := range objects.drivers() {
		if !slices.Contains(accounts, it.pod.Spec.ServiceAccountName) {
			found.add("%s: no ServiceAccount %q", it.name, it.pod.Spec.ServiceAccountName)
		}
	}
	var used []string
	bound := func(kind string, name string, role rbac.RoleRef, roles []string, subjects []rbac.Subject) {
		if !slices.Contains(roles, role.Name) {
			found.add("%s %s: no role %s", kind, name, role.Name)
		}
		used = append(used, role.Kind+"/"+role.Name)
		for _, subject := range subjects {
			if subject.Namespace != Namespace || !slices.Contains(accounts, subject.Name) {
				found.add("%s %s: no ServiceAccount %s/%s", kind, name, subject.Namespace, subject.Name)
			}
		}
	}
	clusterRoles, roles := names(all[*rbac.ClusterRole](objects)), names(all[*rbac.Role](objects))
	for _, it := range all[*rbac.ClusterRoleBinding](objects) {
		bound("ClusterRoleBinding", it.Name, it.RoleRef, clusterRoles, it.Subjects)
	}
	for _, it := range all[*rbac.RoleBinding](objects) {
		bound("RoleBinding", it.Name, it.RoleRef, roles, it.Subjects)
	}
	for _, name := range clusterRoles {
		if !slices.Contains(used, "ClusterRole/"+name) {
			found.add("ClusterRole %s is bound to nobody", name)
		}
	}
	for _, name := range roles {
		if !slices.Contains(used, "Role/"+name) {
			found.add("Role %s is bound to nobody", name)
		}
	}
}

func checkVolumes(objects Objects, found *problems) {
	claims := names(all[*core.PersistentVolumeClaim](objects))
	for _, it := range objects.workloads() {
		var have, used []string
		for _, volume := range it.pod.Spec.Volumes {
			have = append(have, volume.Name)
			if claim := volume.PersistentVolumeClaim; claim != nil && !slices.Contains(claims, claim.ClaimName) {
				found.add("%s: no claim %s", it.name, claim.ClaimName)
			}
		}
		for _, container := range it.pod.Spec.Containers {
			for _, mount := range container.VolumeMounts {
				used = append(used, mount.Name)
				if !slices.Contains(have, mount.Name) {
					found.add("%s/%s: no volume %s", it.name, container.Name, mount.Name)
				}
			}
		}
		for _, volume := range it.pod.Spec.Volumes {
			if !slices.Contains(used, volume.Name) && !makesFolder(volume, it.pod.Spec.Volumes) {
				found.add("%s: volume %s is mounted by nobody", it.name, volume.Name)
			}
		}
	}
	for _, volume := range all[*core.PersistentVolume](objects) {
		match := slices.ContainsFunc(all[*core.PersistentVolumeClaim](objects), func(claim *core.PersistentVolumeClaim) bool {
			return claim.Name == volume.Spec.ClaimRef.Name && claim.Namespace == volume.Spec.ClaimRef.Namespace &&
				claim.Spec.VolumeName == volume.Name
		})
		if !match {
			found.add("PersistentVolume %s and its claim do not name each other", volume.Name)
		}
	}
}

// makesFolder: the volume is there so that the kubelet makes a folder in another volume's.
func makesFolder(volume core.Volume, others []core.Volume) bool {
	path := volume.HostPath
	return path != nil && path.Type != nil && *path.Type == core.HostPathDirectoryOrCreate &&
		slices.ContainsFunc(others, func(other core.Volume) bool {
			return other.HostPath != nil && strings.HasPrefix(path.Path, other.HostPath.Path+"/")
		})
}

func checkPorts(objects Objects, found *problems) {
	for _, it := range objects.workloads() {
		numbers, portNames := map[int32]string{}, map[string]string{}
		for _, container := range it.pod.Spec.Containers {
			for _, port := range container.Ports {
				if other := numbers[port.ContainerPort]; other != "" {
					found.add("%s: %s and %s both have port %d", it.name, other, container.Name, port.ContainerPort)
				}
				if other := portNames[port.Name]; other != "" {
					found.add("%s: %s and %s both have a port %s", it.name, other, container.Name, port.Name)
				}
				numbers[port.ContainerPort], portNames[port.Name] = container.Name, container.Name
			}
			for _, probe := range []*core.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.Type == intstr.Int {
					continue
				}
				if !hasPort(container, probe.HTTPGet.Port.StrVal) {
					found.add("%s/%s: a probe wants port %s", it.name, container.Name, probe.HTTPGet.Port.StrVal)
				}
			}
		}
	}
	for _, service := range all[*core.Service](objects) {
		selected := selectedBy(objects, labels.SelectorFromSet(service.Spec.Selector))
		if len(selected) != 1 {
			found.add("Service %s selects %d workloads", service.Name, len(selected))
			continue
		}
		for _, port := range service.Spec.Ports {
			match := slices.ContainsFunc(selected[0].pod.Spec.Containers, func(container core.Container) bool {
				return slices.ContainsFunc(container.Ports, func(it core.ContainerPort) bool {
					return it.Name == port.TargetPort.StrVal && it.ContainerPort == port.Port
				})
			})
			if !match {
				found.add("Service %s: no container has port %s=%d", service.Name, port.TargetPort.StrVal, port.Port)
			}
		}
	}
}

func hasPort(container core.Container, name string) bool {
	return slices.ContainsFunc(container.Ports, func(port core.ContainerPort) bool { return port.Name == name })
}

func selectedBy(objects Objects, selector labels.Selector) []workload {
	var found []workload
	for _, it := range objects.workloads() {
		if selector.Matches(labels.Set(it.pod.Labels)) {
			found = append(found, it)
		}
	}
	return found
}

func checkSelectors(objects Objects, found *problems) {
	selects := func(what string, selector *metav1.LabelSelector, count int) {
		parsed, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			found.add("%s: %v", what, err)
		} else if selected := selectedBy(objects, parsed); len(selected) != count {
			found.add("%s selects %d workloads, not %d", what, len(selected), count)
		}
	}
	for _, it := range objects.drivers() {
		selects("the selector of "+it.name, it.selector, 1)
	}
	for _, it := range all[*policy.PodDisruptionBudget](objects) {
		selects("PodDisruptionBudget "+it.Name, it.Spec.Selector, 1)
	}
	for _, it := range all[*networking.NetworkPolicy](objects) {
		selects("NetworkPolicy "+it.Name, &it.Spec.PodSelector, len(objects.drivers()))
	}
	for _, it := range all[*unstructured.Unstructured](objects) {
		if it.GetKind() == "ServiceMonitor" {
			checkServiceMonitor(objects, it, found)
		}
	}
}

// checkServiceMonitor: every port that it reads is one of the services that it selects, and every such port is read.
func checkServiceMonitor(objects Objects, monitor *unstructured.Unstructured, found *problems) {
	match, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	endpoints, _, _ := unstructured.NestedSlice(monitor.Object, "spec", "endpoints")
	selector := labels.SelectorFromSet(match)
	var offered, read []string
	for _, service := range all[*core.Service](objects) {
		if selector.Matches(labels.Set(service.Labels)) {
			for _, port := range service.Spec.Ports {
				offered = append(offered, port.Name)
			}
		}
	}
	for _, endpoint := range endpoints {
		port, _, _ := unstructured.NestedString(endpoint.(map[string]any), "port")
		read = append(read, port)
		if !slices.Contains(offered, port) {
			found.add("ServiceMonitor %s reads port %q, which no service has", monitor.GetName(), port)
		}
	}
	for _, port := range offered {
		if !slices.Contains(read, port) {
			found.add("ServiceMonitor %s does not read port %q", monitor.GetName(), port)
		}
	}
}

func checkDriverName(objects Objects, found *problems) {
	drivers := all[*storage.CSIDriver](objects)
	if len(drivers) != 1 {
		found.add("%d CSIDrivers", len(drivers))
		return
	}
	name := drivers[0].Name
	for _, class := range all[*storage.StorageClass](objects) {
		if class.Provisioner != name {
			found.add("StorageClass %s is of %s", class.Name, class.Provisioner)
		}
	}
	for _, class := range all[*storage.VolumeAttributesClass](objects) {
		if class.DriverName != name {
			found.add("VolumeAttributesClass %s is of %s", class.Name, class.DriverName)
		}
	}
	for _, class := range snapshotClasses(objects) {
		if class.driver != name {
			found.add("%s is of %s", class.name, class.driver)
		}
	}
	for _, it := range objects.drivers() {
		if got := argument(container(it, "driver"), "driver-name"); got != name {
			found.add("%s: --driver-name is %s, the CSIDriver %s", it.name, got, name)
		}
	}
	classes := names(all[*storage.StorageClass](objects))
	for _, claim := range all[*core.PersistentVolumeClaim](objects) {
		if class := *claim.Spec.StorageClassName; class != "" && !slices.Contains(classes, class) {
			found.add("claim %s: no StorageClass %s", claim.Name, class)
		}
	}
	if attach := len(objects.drivers()) > 1; *drivers[0].Spec.AttachRequired != attach {
		found.add("attachRequired is %v with %s", !attach, fmt.Sprint(len(objects.drivers()), " workloads"))
	}
}
