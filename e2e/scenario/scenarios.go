package scenario

// Scenario is one thing that must work.
type Scenario struct {
	// Name is short, and the name of its namespace.
	Name string
	// Profiles are those that it is run in.
	Profiles []string
	// Bounded tells that it is part of `make test`.
	Bounded bool
	// Alone tells that nothing else may run beside it, because it disturbs the node.
	Alone bool
	// Run fails by t.Fail and its like.
	Run func(t *T)
}

var (
	both       = []string{"local", "single"}
	all        = []string{"local", "single", "restricted"}
	local      = []string{"local"}
	restricted = []string{"restricted"}
)

// All are the scenarios in the order in which they are begun.
var All = []Scenario{
	{Name: "pod-replaced", Profiles: all, Bounded: true, Run: replaced},
	{Name: "raw-block", Profiles: all, Bounded: true, Run: block},
	{Name: "snapshot-restored-larger", Profiles: all, Bounded: true, Run: restored},
	{Name: "grown-online", Profiles: all, Bounded: true, Run: expanded},
	{Name: "cloned", Profiles: all, Bounded: true, Run: cloned},
	{Name: "group-snapshot", Profiles: both, Bounded: true, Run: grouped},
	{Name: "generic-ephemeral", Profiles: local, Bounded: true, Run: ephemeral},
	{Name: "attributes-changed", Profiles: both, Bounded: true, Run: attributesChanged},
	{Name: "single-pod-access", Profiles: local, Bounded: true, Run: singlePod},
	{Name: "larger-than-the-pool", Profiles: local, Bounded: true, Run: tooLarge},
	{Name: "stateful-replicas", Profiles: both, Run: replicas},
	{Name: "killed-while-staging", Profiles: local, Alone: true, Run: killedWhileStaging},
	{Name: "killed-under-load", Profiles: both, Bounded: true, Alone: true, Run: killedUnderLoad},
	{Name: "kubelet-restarted", Profiles: local, Alone: true, Run: kubeletRestarted},
	{Name: "node-plugin-upgraded", Profiles: both, Bounded: true, Alone: true, Run: upgraded},
	{Name: "startup-taint", Profiles: local, Bounded: true, Alone: true, Run: startupTaint},
	{Name: "controller-is-restricted", Profiles: restricted, Bounded: true, Run: controllerRestricted},
	{Name: "pod-start", Profiles: both, Alone: true, Run: podStart},
	{Name: "helm-test", Profiles: both, Alone: true, Run: chartTest},
	{Name: "rights-suffice", Profiles: all, Bounded: true, Alone: true, Run: rightsSuffice},
	{Name: "documented", Profiles: local, Alone: true, Run: documented},
	{Name: "removed-with-volumes", Profiles: all, Alone: true, Run: removedWithVolumes},
}
