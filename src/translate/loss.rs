//! What a translation loses, coerces or drops: found by going there and back again.

use csi_translation::Translator;
use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::object::written;

/// What of an in-tree volume would not come back from its CSI form.
pub(super) fn to_csi(
    translator: Translator,
    in_tree: &PersistentVolume,
    csi: &PersistentVolume,
) -> Vec<String> {
    let mut losses = coerced(in_tree, csi);
    match translator.pv_to_in_tree(csi) {
        Ok(back) => losses.extend(differences(in_tree, &back, "would not come back from CSI")),
        Err(error) => losses.push(format!("it could not be translated back: {error}")),
    }
    losses
}

/// What of a CSI volume would not come back from its in-tree form.
pub(super) fn to_in_tree(
    translator: Translator,
    csi: &PersistentVolume,
    in_tree: &PersistentVolume,
) -> Vec<String> {
    let mut losses = coerced(csi, in_tree);
    match translator.pv_to_csi(in_tree) {
        Ok(back) => losses.extend(differences(csi, &back, "is lost in the in-tree form")),
        Err(error) => losses.push(format!("it could not be translated back: {error}")),
    }
    losses
}

/// Parameters of a class that its CSI form does not have under any name.
pub(super) fn of_class(in_tree: &StorageClass, csi: &StorageClass) -> Vec<String> {
    let empty = std::collections::BTreeMap::new();
    let (old, new) = (
        in_tree.parameters.as_ref().unwrap_or(&empty),
        csi.parameters.as_ref().unwrap_or(&empty),
    );
    let topologies = written(&csi.allowed_topologies).to_string();
    let dropped = old.iter().filter(|(key, value)| {
        let renamed = new.values().any(|it| it == *value) || topologies.contains(value.as_str());
        !new.contains_key(*key) && !renamed
    });
    dropped
        .map(|(key, _)| format!("parameter {key} is dropped"))
        .collect()
}

fn coerced(before: &PersistentVolume, after: &PersistentVolume) -> Vec<String> {
    let modes = |pv: &PersistentVolume| {
        pv.spec
            .as_ref()
            .and_then(|it| it.access_modes.clone())
            .unwrap_or_default()
    };
    let (old, new) = (modes(before), modes(after));
    if old == new {
        return Vec::new();
    }
    vec![format!(
        "access modes [{}] become [{}]",
        old.join(", "),
        new.join(", ")
    )]
}

fn differences(before: &PersistentVolume, back: &PersistentVolume, what: &str) -> Vec<String> {
    let (before, back) = (written(&before.spec), written(&back.spec));
    let mut found = Vec::new();
    compare("spec", &before, &back, &mut |path| {
        found.push(format!("{path} {what}"));
    });
    found
}

/// Calls `report` for each field that is missing or has another value. What topology gains on the way is no loss.
fn compare(path: &str, before: &Value, back: &Value, report: &mut impl FnMut(&str)) {
    match (before, back) {
        (Value::Object(fields), Value::Object(others)) => {
            for (key, field) in fields
                .iter()
                .filter(|(key, _)| *key != "nodeAffinity" && *key != "accessModes")
            {
                let path = format!("{path}.{key}");
                match others.get(key) {
                    Some(other) => compare(&path, field, other, report),
                    None if is_empty(field) => {}
                    None => report(&path),
                }
            }
        }
        (before, back) if before == back => {}
        _ => report(path),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => value.as_i64() == Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn losses_are_named_by_their_field() {
        let pv: PersistentVolume = serde_json::from_value(json!({
            "metadata": { "name": "p" },
            "spec": { "awsElasticBlockStore": { "volumeID": "aws://us-east-1a/vol-1" }, "accessModes": ["ReadWriteOnce"] },
        }))
        .unwrap();
        let translator = csi_translation::newest();
        let csi = translator.pv_to_csi(&pv).unwrap();
        let losses = to_csi(translator, &pv, &csi);
        assert_eq!(
            losses,
            ["spec.awsElasticBlockStore.volumeID would not come back from CSI"]
        );
    }
}
