package deploy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
)

// argument gives the value of --NAME=value; "" without it.
func argument(container *core.Container, name string) string {
	for _, arg := range container.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

// place says what a path in a container is: the volume (host path, or the volume's name) and the path in it.
func place(it workload, container *core.Container, where string) string {
	best := core.VolumeMount{}
	for _, mount := range container.VolumeMounts {
		if (where == mount.MountPath || strings.HasPrefix(where, mount.MountPath+"/")) && len(mount.MountPath) > len(best.MountPath) {
			best = mount
		}
	}
	rest := strings.TrimPrefix(where, best.MountPath)
	for _, volume := range it.pod.Spec.Volumes {
		if volume.Name != best.Name {
			continue
		}
		if volume.HostPath != nil {
			return path.Join(volume.HostPath.Path, rest)
		}
		return volume.Name + ":" + rest
	}
	return "the container's own " + where
}

// CheckSockets finds sockets, directories and mounts that are not the same everywhere.
func CheckSockets(objects Objects) []string {
	var found problems
	for _, it := range objects.drivers() {
		driver := container(it, "driver")
		socket := place(it, driver, strings.TrimPrefix(argument(driver, "endpoint"), "unix://"))
		for i := range it.pod.Spec.Containers {
			sidecar := &it.pod.Spec.Containers[i]
			if sidecar == driver {
				continue
			}
			if got := place(it, sidecar, argument(sidecar, "csi-address")); got != socket {
				found.add("%s/%s: connects to %s; the driver answers at %s", it.name, sidecar.Name, got, socket)
			}
		}
		hook := &core.Container{Args: preStop(driver)}
		for _, name := range []string{"driver-name", "data-dir", "kubelet-dir"} {
			if hook.Args != nil && argument(hook, name) != argument(driver, name) {
				found.add("%s: the PreStop hook has another --%s: %s", it.name, name, argument(hook, name))
			}
		}
		if kubelet := argument(driver, "kubelet-dir"); kubelet != "" {
			checkKubelet(it, driver, kubelet, socket, &found)
		}
	}
	return found
}

// checkKubelet: the kubelet finds the socket, and mounts that the driver makes reach the host under the same path.
func checkKubelet(it workload, driver *core.Container, kubelet, socket string, found *problems) {
	wanted := fmt.Sprintf("%s/plugins/%s/csi.sock", kubelet, argument(driver, "driver-name"))
	if socket != wanted {
		found.add("%s: the socket is at %s, not %s", it.name, socket, wanted)
	}
	if got := place(it, driver, kubelet); got != kubelet {
		found.add("%s: the kubelet's directory %s is %s in the container", it.name, kubelet, got)
	}
	shared := slices.ContainsFunc(driver.VolumeMounts, func(mount core.VolumeMount) bool {
		return mount.MountPath == kubelet && mount.MountPropagation != nil && *mount.MountPropagation == core.MountPropagationBidirectional
	})
	if !shared {
		found.add("%s: mounts below %s do not reach the host", it.name, kubelet)
	}
	if data := argument(driver, "data-dir"); place(it, driver, data) != data {
		found.add("%s: the data directory %s is %s", it.name, data, place(it, driver, data))
	}
	if got := place(it, driver, "/dev"); got != "/dev" {
		found.add("%s: /dev is %s", it.name, got)
	}
	registry := kubelet + "/plugins_registry"
	registrar := container(it, "node-driver-registrar")
	switch own := argument(driver, "registration-dir"); {
	case own != "" && registrar != nil:
		found.add("%s: the driver and the registrar both register", it.name)
	case own == "" && registrar == nil:
		found.add("%s: nobody registers the driver", it.name)
	case own != "" && place(it, driver, own) != registry:
		found.add("%s: registers at %s, not %s", it.name, place(it, driver, own), registry)
	case registrar != nil && argument(registrar, "kubelet-registration-path") != wanted:
		found.add("%s: the registrar tells the kubelet %s", it.name, argument(registrar, "kubelet-registration-path"))
	case registrar != nil && place(it, registrar, "/registration") != registry:
		found.add("%s: the registrar registers at %s", it.name, place(it, registrar, "/registration"))
	}
}
