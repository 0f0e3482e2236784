package deploy

// Bases are rendered into deploy/kustomize; each name is a folder there.
var Bases = []Case{
	{Name: "local", Values: "{profile: local, snapshots: {enabled: false}}"},
	{Name: "local-snapshots", Values: "{profile: local, snapshots: {enabled: true}}"},
	{Name: "single", Values: "{profile: single, snapshots: {enabled: false}}"},
	{Name: "single-snapshots", Values: "{profile: single, snapshots: {enabled: true}}"},
}

// Cases are all renderings that are checked: the bases, and each option that changes what is rendered.
var Cases = append(Bases[:len(Bases):len(Bases)],
	Case{Name: "defaults"},
	Case{Name: "defaults-with-snapshot-apis", APIs: Snapshots},
	Case{Name: "local-everything", APIs: Snapshots, Values: `
profile: local
groupSnapshots: {enabled: true}
startupTaint: {enabled: true}
` + extras},
	Case{Name: "single-everything", APIs: Snapshots, Values: `
profile: single
startupTaint: {enabled: true}
` + extras},
	Case{Name: "single-privileged", APIs: Snapshots, Values: `
profile: single
controller: {privileged: true}
groupSnapshots: {enabled: true}
`},
	Case{Name: "single-without-token", Values: `
profile: single
node: {preStop: {enabled: false}}
csiDriver: {storageCapacity: false, nodeAllocatableUpdatePeriodSeconds: null}
controller: {podDisruptionBudget: {enabled: false}}
`},
	Case{Name: "other-names", APIs: Snapshots, Values: `
fullnameOverride: disks
driverName: ebs.csi.aws.com
kubeletDir: /var/snap/kubelet
dataDir: /mnt/pool/volumes
storageClasses: [{name: fast, default: true, fsType: xfs, parameters: {provisioning: thick}, mountOptions: [noatime]}]
volumeAttributesClasses: []
snapshots: {classes: [{name: kept, default: true, deletionPolicy: Retain}]}
`},
)

const extras = `
imagePullSecrets: [{name: pull}]
otlpEndpoint: http://collector.tracing:4317
maxVolumesPerNode: 8
networkPolicy: {enabled: true, from: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
monitoring: {serviceMonitor: {enabled: true, labels: {release: p}}, prometheusRule: {enabled: true}}
node: {podLabels: {a: b}, podAnnotations: {c: d}, nodeSelector: {disk: ssd}, extraEnv: [{name: RUST_BACKTRACE, value: "1"}], extraArgs: [--backend=file],
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: e, operator: Exists}]}]}}}}
controller: {podLabels: {a: b}, podAnnotations: {c: d}, nodeSelector: {disk: ssd}, extraArgs: [--backend=file]}
sidecars:
  nodeDriverRegistrar: {enabled: true}
  livenessProbe: {enabled: true}
  provisioner: {extraArgs: [--capacity-threads=2]}
`
