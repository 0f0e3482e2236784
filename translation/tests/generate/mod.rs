//! Objects at random: all fields, hostile strings, duplicates, missing pieces. The same seed gives the same objects.
//!
//! What Kubernetes itself leaves to the order of a Go map is not generated: several in-tree sources at once, keys that are
//! equal but for their case, parameters that stand for the same.

use serde_json::{Map, Value, json};

/// SplitMix64.
pub(crate) struct Random(u64);

const TEXTS: [&str; 22] = [
    "",
    "a",
    "vol-0abc",
    "aws://us-east-1a/vol-1",
    "aws:///vol-2?x#y",
    "aws://us east/vol-1",
    "aws://u:p@h:80/vol-3/",
    "x#y#z",
    "rg#acct#share#pv#ns",
    "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d",
    "projects/p/regions/r/disks/e",
    "azure-storage-account-acct-secret",
    " ",
    "ünï",
    "[ds] a/b.vmdk",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d1",
    "http://x.blob/vhds/d.vhd",
    "kubernetes-dynamic-pvc-1",
    "100%",
    "<t>&\"\\",
    "a__b",
    "aws:///vol-%41",
];
const ZONES: [&str; 16] = [
    "us-east-1a",
    "us-east-1b",
    "us-west-2-lax-1a",
    "us-east-1-wl1-bos-wlz-1",
    "us-central1-a",
    "us-central1-b",
    "europe-west1-c",
    "eastus-1",
    "0",
    "1",
    "",
    " us-east-1a ",
    "z",
    "us-east-1a__us-east-1b",
    "us-central1-a__us-central1-b",
    "__",
];
const KEYS: [&str; 12] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.ebs.csi.aws.com/zone",
    "topology.gke.io/zone",
    "topology.cinder.csi.openstack.org/zone",
    "topology.disk.csi.azure.com/zone",
    "topology.csi.vmware.com/zone",
    "topology.csi.vmware.com/region",
    "kubernetes.io/hostname",
    "x",
];
const MODES: [&str; 5] = [
    "ReadWriteOnce",
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOncePod",
    "Odd",
];
pub(crate) const PLUGINS: [(&str, &str, &str); 8] = [
    (
        "awsElasticBlockStore",
        "kubernetes.io/aws-ebs",
        "ebs.csi.aws.com",
    ),
    (
        "gcePersistentDisk",
        "kubernetes.io/gce-pd",
        "pd.csi.storage.gke.io",
    ),
    ("cinder", "kubernetes.io/cinder", "cinder.csi.openstack.org"),
    (
        "azureDisk",
        "kubernetes.io/azure-disk",
        "disk.csi.azure.com",
    ),
    (
        "azureFile",
        "kubernetes.io/azure-file",
        "file.csi.azure.com",
    ),
    (
        "vsphereVolume",
        "kubernetes.io/vsphere-volume",
        "csi.vsphere.vmware.com",
    ),
    (
        "portworxVolume",
        "kubernetes.io/portworx-volume",
        "pxd.portworx.com",
    ),
    ("rbd", "kubernetes.io/rbd", "rbd.csi.ceph.com"),
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn text(&mut self) -> Value {
        let text = self.pick(&TEXTS);
        json!(text)
    }

    fn number(&mut self) -> Value {
        let numbers = [0, 1, 7, -1, 2_147_483_647];
        json!(numbers[self.below(5)])
    }

    fn flag(&mut self) -> Value {
        json!(self.one_in(2))
    }

    /// Sets a field, most of the time.
    fn maybe(&mut self, into: &mut Map<String, Value>, key: &str, value: fn(&mut Self) -> Value) {
        if !self.one_in(3) {
            let value = value(self);
            into.insert(key.to_owned(), value);
        }
    }

    fn secret(&mut self) -> Value {
        let mut secret = Map::new();
        self.maybe(&mut secret, "name", Self::text);
        self.maybe(&mut secret, "namespace", Self::text);
        secret.into()
    }

    fn zones(&mut self) -> Value {
        let count = self.below(4);
        (0..count).map(|_| self.pick(&ZONES)).collect()
    }

    fn source(&mut self, plugin: &str, inline: bool) -> Value {
        let mut source = Map::new();
        let set = &mut source;
        let required: &[&str] = match plugin {
            "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
            "gcePersistentDisk" => &["pdName"],
            "azureDisk" => &["diskName", "diskURI"],
            "azureFile" => &["secretName", "shareName"],
            "vsphereVolume" => &["volumePath"],
            _ => &["image"],
        };
        for field in required {
            let text = self.text();
            set.insert((*field).to_owned(), text);
        }
        if plugin != "azureFile" {
            self.maybe(set, "fsType", Self::text);
        }
        if plugin != "vsphereVolume" {
            self.maybe(set, "readOnly", Self::flag);
        }
        match plugin {
            "awsElasticBlockStore" | "gcePersistentDisk" => {
                self.maybe(set, "partition", Self::number);
            }
            "azureDisk" => {
                self.maybe(set, "cachingMode", Self::text);
                if self.one_in(3) {
                    let kind = self.pick(&["Managed", "managed", "Dedicated", ""]);
                    set.insert("kind".to_owned(), json!(kind));
                }
            }
            "azureFile" if !inline => self.maybe(set, "secretNamespace", Self::text),
            "vsphereVolume" if !inline => self.maybe(set, "storagePolicyName", Self::text),
            "rbd" => {
                let monitors = self.zones();
                set.insert("monitors".to_owned(), monitors);
                self.maybe(set, "pool", Self::text);
                self.maybe(set, "user", Self::text);
                if inline {
                    self.maybe(set, "secretRef", |it| json!({ "name": it.text() }));
                } else {
                    self.maybe(set, "secretRef", Self::secret);
                }
            }
            _ => {}
        }
        source.into()
    }

    fn metadata(&mut self) -> Value {
        let mut metadata = Map::new();
        self.maybe(&mut metadata, "name", Self::text);
        let mut labels = Map::new();
        for key in &KEYS[..4] {
            if self.one_in(3) {
                let zone = self.pick(&ZONES);
                labels.insert((*key).to_owned(), json!(zone));
            }
        }
        if !self.one_in(3) {
            metadata.insert("labels".to_owned(), labels.into());
        }
        let mut annotations = Map::new();
        let keys = [
            "kubernetes.io/azure-file-resource-group",
            "openstorage.io/auth-secret-name",
            "openstorage.io/auth-secret-namespace",
            "rbd.csi.ceph.com/volume-handle",
            "clusterID",
            "imageFeatures",
            "imageFormat",
            "journalPool",
        ];
        for key in keys {
            if self.one_in(4) {
                let text = self.text();
                annotations.insert(key.to_owned(), text);
            }
        }
        if !annotations.is_empty() {
            metadata.insert("annotations".to_owned(), annotations.into());
        }
        metadata.into()
    }

    fn affinity(&mut self) -> Value {
        let terms = (0..self.below(3))
            .map(|_| {
                let expressions: Vec<Value> = (0..self.below(4))
                    .map(|_| json!({ "key": self.pick(&KEYS), "operator": "In", "values": self.zones() }))
                    .collect();
                json!({ "matchExpressions": expressions })
            })
            .collect::<Vec<_>>();
        json!({ "required": { "nodeSelectorTerms": terms } })
    }

    fn spec(&mut self, source: (&str, Value)) -> Value {
        let mut spec = Map::new();
        spec.insert("capacity".to_owned(), json!({ "storage": "10Gi" }));
        spec.insert(source.0.to_owned(), source.1);
        self.maybe(&mut spec, "accessModes", |it| {
            let count = it.below(3);
            (0..count).map(|_| it.pick(&MODES)).collect()
        });
        self.maybe(&mut spec, "nodeAffinity", Self::affinity);
        if self.one_in(3) {
            spec.insert(
                "claimRef".to_owned(),
                json!({ "namespace": self.text(), "name": "c" }),
            );
        }
        if self.one_in(3) {
            spec.insert("mountOptions".to_owned(), json!(["noatime"]));
        }
        if self.one_in(4) {
            let mode = self.pick(&["Block", "Filesystem"]);
            spec.insert("volumeMode".to_owned(), json!(mode));
        }
        spec.into()
    }

    fn attributes(&mut self) -> Value {
        let mut attributes = Map::new();
        let keys = [
            ["partition", "partition"],
            ["cachingmode", "cachingMode"],
            ["fstype", "FSType"],
            ["sharename", "shareName"],
            ["secretname", "secretName"],
            ["secretnamespace", "secretNamespace"],
            ["initialvolumefilepath", "initialvolumefilepath"],
            ["imageName", "imageName"],
            ["pool", "pool"],
            ["adminId", "adminId"],
            ["clusterID", "clusterID"],
            ["journalPool", "journalPool"],
        ];
        for spellings in keys {
            if self.one_in(3) {
                let key = self.pick(&spellings);
                let value = if key == "partition" {
                    json!(self.pick(&[
                        "0",
                        "",
                        "1",
                        "+7",
                        "-1",
                        "x",
                        "4294967297",
                        "99999999999999999999"
                    ]))
                } else {
                    self.text()
                };
                attributes.insert(key.to_owned(), value);
            }
        }
        attributes.into()
    }

    fn csi(&mut self, driver: &str) -> Value {
        let mut csi = Map::new();
        csi.insert("driver".to_owned(), json!(driver));
        let handle = self.text();
        csi.insert("volumeHandle".to_owned(), handle);
        self.maybe(&mut csi, "fsType", Self::text);
        self.maybe(&mut csi, "readOnly", Self::flag);
        self.maybe(&mut csi, "volumeAttributes", Self::attributes);
        self.maybe(&mut csi, "nodeStageSecretRef", Self::secret);
        csi.into()
    }

    fn parameters(&mut self) -> Value {
        let keys: [&[&str]; 18] = [
            &["fstype", "fsType", "FSTYPE"],
            &["zone", "Zone"],
            &["iopsPerGB", "iopspergb"],
            &["type"],
            &["datastore", "dataStore"],
            &["diskformat"],
            &["storagepolicyname", "storagePolicyName"],
            &["iopslimit"],
            &["openstorage.io/auth-secret-name"],
            &["openstorage.io/auth-secret-namespace"],
            &["monitors"],
            &["adminSecretName"],
            &["adminSecretNamespace"],
            &["adminId"],
            &["pool", "POOL"],
            &["imageFeatures"],
            &["imageFormat"],
            &["availability"],
        ];
        let mut parameters = Map::new();
        for spellings in keys {
            if self.one_in(3) {
                let key = self.pick(spellings);
                let text = self.text();
                parameters.insert(key.to_owned(), text);
            }
        }
        // One of the two only.
        if !parameters.contains_key("zone") && !parameters.contains_key("Zone") && self.one_in(4) {
            let zones = self.pick(&["a,b", "", "us-east-1a", " a ,a,"]);
            parameters.insert("zones".to_owned(), json!(zones));
        }
        parameters.into()
    }

    fn class(&mut self, plugin: &str) -> Value {
        let mut class = Map::new();
        class.insert("metadata".to_owned(), json!({ "name": "sc" }));
        class.insert("provisioner".to_owned(), json!(plugin));
        self.maybe(&mut class, "parameters", Self::parameters);
        if self.one_in(2) {
            let terms: Vec<Value> = (0..self.below(3))
                .map(|_| json!({ "matchLabelExpressions": [{ "key": self.pick(&KEYS), "values": self.zones() }] }))
                .collect();
            class.insert("allowedTopologies".to_owned(), terms.into());
        }
        class.into()
    }

    /// A question for the library: an operation and its input.
    pub(crate) fn question(&mut self, plugin: (&str, &str, &str)) -> Value {
        let (field, in_tree, driver) = plugin;
        let (op, input) = match self.below(9) {
            0..3 => {
                let source = self.source(field, false);
                (
                    "TranslateInTreePVToCSI",
                    json!({ "pv": { "metadata": self.metadata(), "spec": self.spec((field, source)) } }),
                )
            }
            3..5 => {
                let source = self.csi(driver);
                (
                    "TranslateCSIPVToInTree",
                    json!({ "pv": { "metadata": self.metadata(), "spec": self.spec(("csi", source)) } }),
                )
            }
            5 => {
                let source = self.source(field, true);
                (
                    "TranslateInTreeInlineVolumeToCSI",
                    json!({ "volume": { "name": self.text(), field: source }, "podNamespace": self.text() }),
                )
            }
            6..8 => (
                "TranslateInTreeStorageClassToCSI",
                json!({ "inTreePluginName": in_tree, "storageClass": self.class(in_tree) }),
            ),
            _ => {
                let node = self.pick(&[
                    "projects/p/zones/us-central1-a/instances/i",
                    "bad",
                    "a/b/c/d/e/f/g",
                    "",
                ]);
                (
                    "RepairVolumeHandle",
                    json!({ "driverName": driver, "volumeHandle": self.text(), "nodeID": node }),
                )
            }
        };
        json!({ "op": op, "input": input })
    }
}
