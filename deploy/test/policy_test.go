package deploy

import (
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const nodeAccount = "system:serviceaccount:" + Namespace + ":offshoot-node"

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	found := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func volumeOn(t *testing.T, driver string, nodes ...string) map[string]any {
	terms := make([]string, 0, len(nodes))
	for _, node := range nodes {
		terms = append(terms, "{matchExpressions: [{key: topology.offshoot.dev/node, operator: In, values: ["+node+"]}]}")
	}
	return object(t, "{spec: {csi: {driver: "+driver+"}, nodeAffinity: {required: {nodeSelectorTerms: ["+strings.Join(terms, ", ")+"]}}}}")
}

func policyOf(t *testing.T, name string) *admission.ValidatingAdmissionPolicy {
	t.Helper()
	policies := all[*admission.ValidatingAdmissionPolicy](mustDecode(t, mustRender(t, caseNamed(t, name))))
	if len(policies) != 1 {
		t.Fatalf("%d policies", len(policies))
	}
	return policies[0]
}

func TestANodesTokenIsKeptToItsNode(t *testing.T) {
	policy := policyOf(t, "local-snapshots")
	const volumes, nodes, capacities, contents = "persistentvolumes", "nodes", "csistoragecapacities", "volumesnapshotcontents"
	ours, theirs := volumeOn(t, "offshoot.dev", "a"), volumeOn(t, "offshoot.dev", "b")
	node := func(label, taint string) map[string]any {
		return object(t, "{metadata: {name: a, labels: {k: "+label+"}}, spec: {taints: [{key: "+taint+"}]}}")
	}
	capacity := func(node string) map[string]any {
		return object(t, "{nodeTopology: {matchLabels: {topology.offshoot.dev/node: "+node+"}}}")
	}
	content := func(node string) map[string]any {
		return object(t, "{metadata: {labels: {snapshot.storage.kubernetes.io/managed-by: "+node+"}}}")
	}
	for _, c := range []struct {
		what    string
		request Request
		says    string
	}{
		{"makes a volume here", Request{Resource: volumes, New: ours}, ""},
		{"changes a volume here", Request{Resource: volumes, Old: ours, New: ours}, ""},
		{"deletes a volume here", Request{Resource: volumes, Old: ours}, ""},
		{"makes a volume elsewhere", Request{Resource: volumes, New: theirs}, "PersistentVolumes of that node"},
		{"deletes a volume elsewhere", Request{Resource: volumes, Old: theirs}, "PersistentVolumes of that node"},
		{"takes a volume over", Request{Resource: volumes, Old: theirs, New: ours}, "PersistentVolumes of that node"},
		{"makes a volume for two nodes", Request{Resource: volumes, New: volumeOn(t, "offshoot.dev", "a", "b")}, "PersistentVolumes of that node"},
		{"makes a volume for every node", Request{Resource: volumes, New: object(t, "{spec: {csi: {driver: offshoot.dev}}}")}, "PersistentVolumes of that node"},
		{"makes another driver's volume", Request{Resource: volumes, New: volumeOn(t, "ebs.csi.aws.com", "a")}, "PersistentVolumes of that node"},
		{"makes a host path", Request{Resource: volumes, New: object(t, "{spec: {hostPath: {path: /}}}")}, "PersistentVolumes of that node"},
		{"removes its taint", Request{Resource: nodes, Name: "a", Old: node("v", "t"), New: node("v", "u")}, ""},
		{"labels its node", Request{Resource: nodes, Name: "a", Old: node("v", "t"), New: node("w", "t")}, "taints of that node"},
		{"changes another node", Request{Resource: nodes, Name: "b", Old: node("v", "t"), New: node("v", "u")}, "taints of that node"},
		{"publishes its capacity", Request{Resource: capacities, New: capacity("a")}, ""},
		{"publishes another's", Request{Resource: capacities, New: capacity("b")}, "capacity of that node"},
		{"deletes another's capacity", Request{Resource: capacities, Old: capacity("b")}, "capacity of that node"},
		{"changes a snapshot here", Request{Resource: contents, Old: content("a"), New: content("a")}, ""},
		{"changes a snapshot elsewhere", Request{Resource: contents, Old: content("b"), New: content("b")}, "snapshots of that node"},
		{"takes a snapshot over", Request{Resource: contents, Old: content("b"), New: content("a")}, "snapshots of that node"},
		{"changes a snapshot of nobody", Request{Resource: contents, Old: object(t, "{metadata: {}}"), New: object(t, "{metadata: {}}")}, "snapshots of that node"},
	} {
		t.Run(c.what, func(t *testing.T) {
			c.request.User, c.request.Node = nodeAccount, "a"
			concerned, denied, err := Judge(policy, c.request)
			said := strings.Join(denied, "; ")
			if err != nil || !concerned || c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("concerned %v, denied %q, %v", concerned, said, err)
			}
		})
	}
}

func TestOtherTokensAreJudgedRightly(t *testing.T) {
	policy := policyOf(t, "local-snapshots")
	ours := volumeOn(t, "offshoot.dev", "a")
	concerned, denied, err := Judge(policy, Request{User: nodeAccount, Resource: "persistentvolumes", New: ours})
	if err != nil || !concerned || !strings.Contains(strings.Join(denied, "; "), "must be bound to a pod of that node") {
		t.Errorf("a token without a node: concerned %v, denied %q, %v", concerned, denied, err)
	}
	if concerned, _, err := Judge(policy, Request{User: "system:serviceaccount:default:admin", Resource: "persistentvolumes", Old: ours}); err != nil || concerned {
		t.Errorf("somebody else is concerned (%v)", err)
	}
}

// Whatever a node may write in the cluster and that belongs to a node, the policy looks at.
func TestThePolicyCoversWhatANodeMayWrite(t *testing.T) {
	// Claims have no node before they are bound; events, too.
	free := []string{"persistentvolumeclaims", "persistentvolumeclaims/status", "events", "volumesnapshots"}
	for _, name := range []string{"local", "local-snapshots", "defaults", "other-names"} {
		objects := mustDecode(t, mustRender(t, caseNamed(t, name)))
		var covered []string
		for _, rule := range policyOf(t, name).Spec.MatchConstraints.ResourceRules {
			covered = append(covered, rule.Resources...)
		}
		rules := all[*rbac.ClusterRole](objects)[0].Rules
		for _, role := range all[*rbac.Role](objects) {
			rules = append(rules, role.Rules...)
		}
		for _, rule := range rules {
			writes := slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains([]string{"get", "list", "watch"}, verb) })
			for _, resource := range rule.Resources {
				if writes && !slices.Contains(covered, resource) && !slices.Contains(free, resource) {
					t.Errorf("%s: a node may write %s everywhere", name, resource)
				}
			}
		}
	}
	if policies := all[*admission.ValidatingAdmissionPolicy](mustDecode(t, mustRender(t, caseNamed(t, "single")))); len(policies) != 0 {
		t.Error("a policy for profile single, where a node writes nothing")
	}
}
