//! One object: what it is, and what becomes of it.

use csi_translation::{Change, KubernetesVersion, Translator};
use k8s_openapi::api::core::v1::{PersistentVolume, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Direction, loss};

/// What became of an object.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// The object, if it was changed.
    pub(super) object: Option<Value>,
    /// The PersistentVolumes that stand for the volumes of its pods.
    pub(super) inline_volumes: Vec<Value>,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<String>,
}

/// Where the pod of an object is specified.
const POD_SPECS: [(&str, &str); 9] = [
    ("Pod", "/spec"),
    ("PodTemplate", "/template/spec"),
    ("Deployment", "/spec/template/spec"),
    ("ReplicaSet", "/spec/template/spec"),
    ("ReplicationController", "/spec/template/spec"),
    ("StatefulSet", "/spec/template/spec"),
    ("DaemonSet", "/spec/template/spec"),
    ("Job", "/spec/template/spec"),
    ("CronJob", "/spec/jobTemplate/spec/template/spec"),
];

/// `kind/namespace/name`, as people name objects.
pub(super) fn describe(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object").to_lowercase();
    let name = text("/metadata/name").unwrap_or("unnamed");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Translates an object; what is not ours to translate stays as it is.
pub(super) fn translate(
    translator: Translator,
    direction: Direction,
    object: &Value,
) -> Translated {
    let kind = object["kind"].as_str().unwrap_or_default();
    match (kind, direction) {
        ("PersistentVolume", Direction::Csi) => pv_to_csi(translator, object),
        ("PersistentVolume", Direction::InTree) => pv_to_in_tree(translator, object),
        ("StorageClass", Direction::Csi) => class_to_csi(translator, object),
        (kind, Direction::Csi) => match POD_SPECS.iter().find(|(known, _)| *known == kind) {
            Some((_, pointer)) => inline_to_csi(translator, object, pointer),
            None => Translated::default(),
        },
        (_, Direction::InTree) => Translated::default(),
    }
}

/// What differs between two versions about a volume, or about the volumes of a pod; nothing for what is not in-tree.
pub(super) fn drift(
    object: &Value,
    from: KubernetesVersion,
    to: KubernetesVersion,
) -> Result<Vec<Change>, String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let versions = [csi_translation::as_of(from), csi_translation::as_of(to)];
    if kind == "PersistentVolume" {
        let pv: PersistentVolume = read(object)?;
        let known = versions.iter().any(|it| it.plugin_of_pv(&pv).is_some());
        return Ok(if known {
            csi_translation::drift(&pv, from, to)
        } else {
            Vec::new()
        });
    }
    let Some((_, pointer)) = POD_SPECS.iter().find(|(known, _)| *known == kind) else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for value in volumes(object, pointer) {
        let volume: Volume = read(value)?;
        if versions
            .iter()
            .any(|it| it.plugin_of_volume(&volume).is_some())
        {
            changes.extend(csi_translation::drift_inline(
                &volume,
                namespace(object),
                from,
                to,
            ));
        }
    }
    Ok(changes)
}

/// The volumes of the pods of an object.
fn volumes<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let volumes = object.pointer(&format!("{pointer}/volumes"));
    volumes.and_then(Value::as_array).into_iter().flatten()
}

fn namespace(object: &Value) -> &str {
    let namespace = object.pointer("/metadata/namespace");
    namespace.and_then(Value::as_str).unwrap_or_default()
}

fn pv_to_csi(translator: Translator, object: &Value) -> Translated {
    let pv: PersistentVolume = match read(object) {
        Ok(pv) => pv,
        Err(error) => return failed(error),
    };
    if translator.plugin_of_pv(&pv).is_none() {
        return Translated::default();
    }
    match translator.pv_to_csi(&pv) {
        Err(error) => failed(error.to_string()),
        Ok(csi) => Translated {
            object: Some(patched(object, &pv, &csi)),
            warnings: loss::to_csi(translator, &pv, &csi),
            ..Translated::default()
        },
    }
}

fn pv_to_in_tree(translator: Translator, object: &Value) -> Translated {
    let pv: PersistentVolume = match read(object) {
        Ok(pv) => pv,
        Err(error) => return failed(error),
    };
    let driver = pv
        .spec
        .as_ref()
        .and_then(|it| it.csi.as_ref())
        .map(|it| it.driver.as_str());
    if !driver.is_some_and(|driver| translator.is_migrated_driver(driver)) {
        return Translated::default();
    }
    match translator.pv_to_in_tree(&pv) {
        Err(error) => failed(error.to_string()),
        Ok(in_tree) => Translated {
            object: Some(patched(object, &pv, &in_tree)),
            warnings: loss::to_in_tree(translator, &pv, &in_tree),
            ..Translated::default()
        },
    }
}

/// Kubernetes leaves the provisioner as it is, because it translates on the way to the driver; a class that is stored needs
/// the driver's name.
fn class_to_csi(translator: Translator, object: &Value) -> Translated {
    let class: StorageClass = match read(object) {
        Ok(class) => class,
        Err(error) => return failed(error),
    };
    let Some(driver) = translator.csi_name(&class.provisioner) else {
        return Translated::default();
    };
    match translator.storage_class_to_csi(&class.provisioner, &class) {
        Err(error) => failed(error.to_string()),
        Ok(mut csi) => {
            driver.clone_into(&mut csi.provisioner);
            Translated {
                object: Some(patched(object, &class, &csi)),
                warnings: loss::of_class(&class, &csi),
                ..Translated::default()
            }
        }
    }
}

/// A pod cannot name a CSI volume of this kind; Kubernetes makes a PersistentVolume of it in memory, which is shown.
fn inline_to_csi(translator: Translator, object: &Value, pointer: &str) -> Translated {
    let mut translated = Translated::default();
    let namespace = namespace(object);
    for value in volumes(object, pointer) {
        let volume: Volume = match read(value) {
            Ok(volume) => volume,
            Err(error) => {
                translated.errors.push(error);
                continue;
            }
        };
        if translator.plugin_of_volume(&volume).is_none() {
            continue;
        }
        match translator.inline_to_csi(&volume, namespace) {
            Err(error) => translated.errors.push(error.to_string()),
            Ok(pv) => {
                let text = format!(
                    "volume {} becomes a PersistentVolume of Kubernetes' own, which is not stored; it follows here",
                    volume.name
                );
                translated.warnings.push(text);
                translated.inline_volumes.push(written(&pv));
            }
        }
    }
    translated
}

fn failed(error: String) -> Translated {
    Translated {
        errors: vec![error],
        ..Translated::default()
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("it does not have the form of its kind: {error}"))
}

pub(super) fn written(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// The original with what the translation changed, and nothing else.
fn patched(original: &Value, before: &impl Serialize, after: &impl Serialize) -> Value {
    let mut patched = original.clone();
    patch(&mut patched, &written(before), &written(after));
    patched
}

fn patch(original: &mut Value, before: &Value, after: &Value) {
    let (Value::Object(fields), Value::Object(old), Value::Object(new)) =
        (&mut *original, before, after)
    else {
        *original = after.clone();
        return;
    };
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        fields.shift_remove(key);
    }
    for (key, new) in new {
        match (fields.get_mut(key), old.get(key)) {
            (_, Some(old)) if old == new => {}
            (Some(field), Some(old)) => patch(field, old, new),
            _ => {
                fields.insert(key.clone(), new.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_translation_changes_is_changed() {
        let object = json!({
            "kind": "PersistentVolume", "fancy": 1, "apiVersion": "v1",
            "metadata": { "name": "p", "labels": { "z": "1", "a": "2" }, "unknown": [] },
            "spec": { "capacity": { "storage": "1024Mi" }, "cinder": { "volumeID": "c" }, "novel": { "x": 1 } },
        });
        let translated = translate(csi_translation::newest(), Direction::Csi, &object)
            .object
            .unwrap();
        let text = serde_json::to_string(&translated).unwrap();
        let expected = concat!(
            r#"{"kind":"PersistentVolume","fancy":1,"apiVersion":"v1","metadata":{"name":"p","labels":{"z":"1","a":"2"},"unknown":[]},"#,
            r#""spec":{"capacity":{"storage":"1024Mi"},"novel":{"x":1},"csi":{"driver":"cinder.csi.openstack.org","volumeHandle":"c"}}}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for object in [
            json!({ "kind": "ConfigMap" }),
            json!({ "kind": "PersistentVolume", "spec": { "nfs": { "server": "s", "path": "/" } } }),
            json!({ "kind": "StorageClass", "provisioner": "example.com/x" }),
            json!([1]),
        ] {
            let translated = translate(csi_translation::newest(), Direction::Csi, &object);
            assert!(
                translated.object.is_none() && translated.errors.is_empty(),
                "{object}"
            );
        }
    }
}
