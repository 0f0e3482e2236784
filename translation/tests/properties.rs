//! What holds without asking anybody: nothing panics, and what goes to CSI and back comes back, but for the losses that the
//! README lists.

mod answer;
mod generate;

use answer::{answer, untyped};
use csi_translation::{KubernetesVersion, Plugin, as_of, newest};
use generate::{PLUGINS, Random};
use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::{Value, json};

#[test]
fn no_object_makes_any_version_panic() {
    let mut random = Random::new(7);
    for number in 0..20_000 {
        let question = random.question(PLUGINS[number % PLUGINS.len()]);
        let minor = 17 + u32::try_from(number % 21).expect("a version");
        let version = KubernetesVersion::new(minor).expect("a version");
        let _ = answer(&question, as_of(version));
        let _ = answer(&question, newest());
    }
}

fn pv(source: &Value) -> PersistentVolume {
    let pv = json!({
        "metadata": { "name": "p", "annotations": { "kubernetes.io/azure-file-resource-group": "rg" } },
        "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "claimRef": { "namespace": "ns", "name": "c" } },
    });
    let mut pv: Value = pv;
    let spec = pv["spec"].as_object_mut().expect("a spec");
    spec.extend(source.as_object().expect("a source").clone());
    serde_json::from_value(pv).expect("a volume")
}

/// The in-tree source after a way to CSI and back.
fn there_and_back(source: &Value) -> Value {
    let translator = newest();
    let csi = translator
        .pv_to_csi(&pv(source))
        .expect("it can be translated");
    let back = translator.pv_to_in_tree(&csi).expect("and back");
    let field = source
        .as_object()
        .and_then(|it| it.keys().next())
        .expect("a source");
    let back = serde_json::to_value(back).expect("JSON");
    untyped(&json!({ field: back["spec"][field] }))
}

#[test]
fn canonical_volumes_come_back_as_they_were() {
    let canonical = [
        json!({ "awsElasticBlockStore": { "volumeID": "vol-1", "fsType": "ext4", "partition": 1, "readOnly": true } }),
        json!({ "gcePersistentDisk": { "pdName": "d", "fsType": "ext4", "partition": 2 } }),
        json!({ "cinder": { "volumeID": "c", "fsType": "xfs", "readOnly": true } }),
        json!({ "azureDisk": { "diskName": "d", "diskURI": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d", "fsType": "ext4", "readOnly": false, "kind": "Managed", "cachingMode": "None" } }),
        json!({ "azureFile": { "secretName": "s", "shareName": "h", "secretNamespace": "n", "readOnly": true } }),
        json!({ "portworxVolume": { "volumeID": "p", "fsType": "ext4" } }),
    ];
    for source in canonical {
        assert_eq!(there_and_back(&source), untyped(&source));
    }
}

#[test]
fn every_loss_is_one_that_the_readme_lists() {
    let losses = [
        (
            json!({ "awsElasticBlockStore": { "volumeID": "aws://z/vol-1" } }),
            json!({ "awsElasticBlockStore": { "volumeID": "vol-1" } }),
        ),
        (
            json!({ "cinder": { "volumeID": "c", "secretRef": { "name": "s" } } }),
            json!({ "cinder": { "volumeID": "c" } }),
        ),
        (
            json!({ "vsphereVolume": { "volumePath": "[d] a.vmdk", "storagePolicyName": "gold" } }),
            json!({ "vsphereVolume": {} }),
        ),
        (
            json!({ "portworxVolume": { "volumeID": "p", "readOnly": true } }),
            json!({ "portworxVolume": { "volumeID": "p" } }),
        ),
        (
            json!({ "azureFile": { "secretName": "s", "shareName": "h" } }),
            json!({ "azureFile": { "secretName": "s", "shareName": "h", "secretNamespace": "ns" } }),
        ),
        (
            json!({ "rbd": { "monitors": ["m"], "image": "i", "pool": "p", "user": "u", "keyring": "k" } }),
            json!({ "rbd": { "monitors": [""], "image": "i", "pool": "p", "user": "admin" } }),
        ),
    ];
    for (source, left) in losses {
        assert_eq!(there_and_back(&source), untyped(&left));
    }
    let readme = include_str!("../README.md");
    for plugin in Plugin::ALL {
        assert!(readme.contains(plugin.in_tree_name()), "{plugin:?}");
    }
}
