//! Our answer to a question, in the form of the recorded ones, and how two answers are compared.

use csi_translation::{Plugin, TranslateError, Translator};
use k8s_openapi::api::core::v1::{PersistentVolume, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

/// Fields in which absence and an empty value differ.
const POINTERS: [&str; 5] = [
    "secretNamespace",
    "fsType",
    "readOnly",
    "kind",
    "cachingMode",
];

pub(crate) fn answer(vector: &Value, translator: Translator) -> Result<Value, String> {
    let input = &vector["input"];
    let field = |name: &str| text(&input[name]);
    match text(&vector["op"]).as_str() {
        "TranslateInTreePVToCSI" => {
            show(translator.pv_to_csi(&read::<PersistentVolume>(&input["pv"])?))
        }
        "TranslateCSIPVToInTree" => {
            show(translator.pv_to_in_tree(&read::<PersistentVolume>(&input["pv"])?))
        }
        "TranslateInTreeInlineVolumeToCSI" => show(
            translator.inline_to_csi(&read::<Volume>(&input["volume"])?, &field("podNamespace")),
        ),
        "TranslateInTreeStorageClassToCSI" => {
            let name = field("inTreePluginName");
            show(
                translator
                    .storage_class_to_csi(&name, &read::<StorageClass>(&input["storageClass"])?),
            )
        }
        "RepairVolumeHandle" => {
            let repaired = translator.repair_volume_handle(
                &field("driverName"),
                &field("volumeHandle"),
                &field("nodeID"),
            );
            repaired.map(Value::from).map_err(|error| error.to_string())
        }
        "GetCSINameFromInTreeName" => known(translator.csi_name(&field("name"))),
        "GetInTreeNameFromCSIName" => known(translator.in_tree_name(&field("name"))),
        "IsMigratableIntreePluginByName" => {
            Ok(json!(translator.is_migratable_plugin(&field("name"))))
        }
        "IsMigratedCSIDriverByName" => Ok(json!(translator.is_migrated_driver(&field("name")))),
        "IsPVMigratable" => Ok(json!(plugin_of_pv(translator, &input["pv"])?.is_some())),
        "IsInlineMigratable" => Ok(json!(
            plugin_of_volume(translator, &input["volume"])?.is_some()
        )),
        "GetInTreePluginNameFromSpec" => {
            let plugin = if input["pv"].is_null() {
                plugin_of_volume(translator, &input["volume"])?
            } else {
                plugin_of_pv(translator, &input["pv"])?
            };
            known(plugin)
        }
        other => Err(format!("unknown operation {other}")),
    }
}

fn plugin_of_pv(translator: Translator, pv: &Value) -> Result<Option<&'static str>, String> {
    if pv.is_null() {
        return Ok(None);
    }
    Ok(translator
        .plugin_of_pv(&read(pv)?)
        .map(Plugin::in_tree_name))
}

fn plugin_of_volume(
    translator: Translator,
    volume: &Value,
) -> Result<Option<&'static str>, String> {
    if volume.is_null() {
        return Ok(None);
    }
    Ok(translator
        .plugin_of_volume(&read(volume)?)
        .map(Plugin::in_tree_name))
}

fn known(name: Option<&str>) -> Result<Value, String> {
    name.map(Value::from).ok_or_else(|| "unknown".to_owned())
}

fn show<T: serde::Serialize>(result: Result<T, TranslateError>) -> Result<Value, String> {
    let object = result.map_err(|error| error.to_string())?;
    serde_json::to_value(object).map_err(|error| error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

/// The types of k8s-openapi know what they are, and always say it.
pub(crate) fn untyped(object: &Value) -> Value {
    let mut object = normal(object, "");
    for constant in ["apiVersion", "kind"] {
        object.as_object_mut().map(|it| it.remove(constant));
    }
    object
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What stays when everything that Go leaves out is left out (semantics: null, empty lists and objects, zero values but in
/// maps and behind pointers).
fn normal(value: &Value, key: &str) -> Value {
    const MAPS: [&str; 4] = ["labels", "annotations", "parameters", "volumeAttributes"];
    match value {
        Value::Object(fields) => {
            let in_map = MAPS.contains(&key);
            let kept = fields.iter().filter_map(|(name, value)| {
                let value = normal(value, name);
                let pointer =
                    POINTERS.contains(&name.as_str()) && (key == "azureDisk" || key == "azureFile");
                let empty = match &value {
                    Value::Null => true,
                    Value::Object(it) => it.is_empty(),
                    Value::Array(it) => it.is_empty(),
                    Value::String(it) => it.is_empty() && !in_map && !pointer,
                    Value::Bool(it) => !it && !pointer,
                    Value::Number(it) => it.as_i64() == Some(0),
                };
                (!empty).then(|| (name.clone(), value))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let items = items.iter().map(|it| normal(it, ""));
            Value::Array(
                items
                    .filter(|it| *it != json!({}) && !it.is_null())
                    .collect(),
            )
        }
        other => other.clone(),
    }
}
