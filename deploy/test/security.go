package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	snapshotgroup "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1"
	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// tokenPath is where client libraries look for the token.
const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// withoutAPI are the containers that never talk to the API server.
var withoutAPI = []string{"node-driver-registrar", "liveness-probe", "write-and-read"}

// CheckSecurity finds containers with more rights than they need. Only the driver of a node is privileged, and that of a
// controller whose values ask for it.
func CheckSecurity(objects Objects) []string {
	var found problems
	for _, it := range objects.workloads() {
		mode := ""
		if driver := container(it, "driver"); driver != nil {
			mode = argument(driver, "mode")
		}
		if mode != "all" && mode != "node" && !isPrivileged(container(it, "driver")) {
			restricted(it.name, it.pod, &found)
		}
		if it.pod.Spec.HostNetwork || it.pod.Spec.HostPID || it.pod.Spec.HostIPC {
			found.add("%s: uses a namespace of the host", it.name)
		}
		for i := range it.pod.Spec.Containers {
			checkContainer(it, &it.pod.Spec.Containers[i], &found)
		}
		if auto := it.pod.Spec.AutomountServiceAccountToken; auto == nil || *auto {
			found.add("%s: every container gets the token", it.name)
		}
	}
	for _, account := range all[*core.ServiceAccount](objects) {
		if auto := account.AutomountServiceAccountToken; auto == nil || *auto {
			found.add("ServiceAccount %s gives its token to whoever uses it", account.Name)
		}
	}
	return found
}

func isPrivileged(container *core.Container) bool {
	return container != nil && container.SecurityContext != nil && container.SecurityContext.Privileged != nil && *container.SecurityContext.Privileged
}

// restricted asks Kubernetes' own judge.
func restricted(name string, pod core.PodTemplateSpec, found *problems) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		found.add("%v", err)
		return
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			found.add("%s: not restricted: %s (%s)", name, result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
}

func checkContainer(it workload, container *core.Container, found *problems) {
	context := container.SecurityContext
	where := it.name + "/" + container.Name
	if context == nil || context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
		found.add("%s: may write to its image", where)
	}
	if container.Resources.Requests.Cpu().IsZero() && container.Name != "write-and-read" || container.Resources.Limits.Memory().IsZero() && container.Name != "write-and-read" {
		found.add("%s: no request of processor time or no limit of memory", where)
	}
	if container.Name != "driver" {
		switch {
		case context == nil:
			found.add("%s: no securityContext", where)
			return
		case isPrivileged(container), context.AllowPrivilegeEscalation == nil, *context.AllowPrivilegeEscalation:
			found.add("%s: may gain privileges", where)
		case context.Capabilities == nil, !slices.Equal(context.Capabilities.Drop, []core.Capability{"ALL"}), len(context.Capabilities.Add) > 0:
			found.add("%s: keeps capabilities", where)
		case context.SeccompProfile == nil, context.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
			found.add("%s: any system call", where)
		case container.Name != "node-driver-registrar" && (context.RunAsNonRoot == nil || !*context.RunAsNonRoot):
			found.add("%s: may be root", where)
		}
	}
	token := slices.ContainsFunc(container.VolumeMounts, func(mount core.VolumeMount) bool { return mount.MountPath == tokenPath })
	if wants := needsAPI(container); token != wants {
		found.add("%s: has the token: %v; needs it: %v", where, token, wants)
	}
}

// needsAPI: sidecars do, and the driver for what its own arguments and hooks say.
func needsAPI(container *core.Container) bool {
	if container.Name == "driver" {
		return preStop(container) != nil || argument(container, "startup-taint") != ""
	}
	return !slices.Contains(withoutAPI, container.Name)
}

// Rights says what each account may do, a line for each kind of object.
func Rights(objects Objects) string {
	lines := map[string][]string{}
	grant := func(scope, account string, rules []rbac.PolicyRule) {
		for _, rule := range rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					key := fmt.Sprintf("%s %s %s", account, scope, strings.Trim(group+"/"+resource, "/"))
					if len(rule.ResourceNames) > 0 {
						key += " named " + strings.Join(rule.ResourceNames, ",")
					}
					lines[key] = append(lines[key], rule.Verbs...)
				}
			}
		}
	}
	for _, binding := range all[*rbac.ClusterRoleBinding](objects) {
		for _, role := range all[*rbac.ClusterRole](objects) {
			if role.Name == binding.RoleRef.Name {
				grant("cluster", binding.Subjects[0].Name, role.Rules)
			}
		}
	}
	for _, binding := range all[*rbac.RoleBinding](objects) {
		for _, role := range all[*rbac.Role](objects) {
			if role.Name == binding.RoleRef.Name {
				grant("namespace", binding.Subjects[0].Name, role.Rules)
			}
		}
	}
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		verbs := lines[key]
		slices.Sort(verbs)
		fmt.Fprintf(&out, "%s: %s\n", key, strings.Join(slices.Compact(verbs), " "))
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

// CheckRights finds what no storage driver needs, whatever the golden files say.
func CheckRights(objects Objects) []string {
	var found problems
	for line := range strings.Lines(Rights(objects)) {
		subject, verbs, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for _, never := range []string{"*", "secrets", "pods/exec", "serviceaccounts", "roles", "nodes/proxy"} {
			if strings.Contains(subject, never) || verbs == "*" {
				found.add("too much: %s", line)
			}
		}
		if strings.HasSuffix(subject, " cluster pods") || strings.HasSuffix(subject, " nodes") && strings.Contains(verbs, "update") {
			found.add("too much: %s", line)
		}
	}
	return found
}

type snapshotClass struct{ name, driver string }

func snapshotClasses(objects Objects) []snapshotClass {
	var found []snapshotClass
	for _, it := range all[*snapshot.VolumeSnapshotClass](objects) {
		found = append(found, snapshotClass{"VolumeSnapshotClass " + it.Name, it.Driver})
	}
	for _, it := range all[*snapshotgroup.VolumeGroupSnapshotClass](objects) {
		found = append(found, snapshotClass{"VolumeGroupSnapshotClass " + it.Name, it.Driver})
	}
	return found
}
