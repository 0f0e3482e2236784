//! Azure File.

use k8s_openapi::api::core::v1::{
    AzureFilePersistentVolumeSource, CSIPersistentVolumeSource, PersistentVolume, Volume,
};

use super::{Result, attributes, inline_pv, only_true, secret, since, spec};
use crate::error::TranslateError;
use crate::go::lower;
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "file.csi.azure.com";
const RESOURCE_GROUP: &str = "kubernetes.io/azure-file-resource-group";
const SHARE_NAME: &str = "sharename";
const SECRET_PREFIX: &str = "azure-storage-account-";
const SECRET_SUFFIX: &str = "-secret";
const DEFAULT_NAMESPACE: &str = "default";

pub(super) fn pv_to_csi(
    mut pv: PersistentVolume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = spec(&mut pv).azure_file.take().unwrap_or_default();
    let namespace = namespace(&pv, &source, version)?;
    let annotations = pv.metadata.annotations.as_ref();
    let group = annotations
        .and_then(|it| it.get(RESOURCE_GROUP))
        .cloned()
        .unwrap_or_default();
    let account = account(&source.secret_name);
    let name = pv.metadata.name.clone().unwrap_or_default();
    let handle = if since(version, 21) {
        format!("{group}#{account}#{}#{name}#{namespace}", source.share_name)
    } else {
        format!("{group}#{account}#{}#", source.share_name)
    };
    spec(&mut pv).csi = Some(CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: handle,
        read_only: only_true(source.read_only),
        volume_attributes: Some(attributes([(share_key(version), source.share_name)])),
        node_stage_secret_ref: Some(secret(&source.secret_name, &namespace)),
        ..CSIPersistentVolumeSource::default()
    });
    Ok(pv)
}

pub(super) fn inline_to_csi(
    volume: &Volume,
    pod_namespace: &str,
    version: KubernetesVersion,
) -> PersistentVolume {
    let source = volume.azure_file.clone().unwrap_or_default();
    let account = account(&source.secret_name);
    let namespace = if pod_namespace.is_empty() || !since(version, 19) {
        DEFAULT_NAMESPACE
    } else {
        pod_namespace
    };
    let handle = if since(version, 21) {
        format!(
            "#{account}#{}#{}#{namespace}",
            source.share_name, volume.name
        )
    } else {
        format!("#{account}#{}#", source.share_name)
    };
    let name = if since(version, 21) {
        handle.clone()
    } else {
        format!("{DRIVER}-{}", source.share_name)
    };
    let csi = CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: handle,
        read_only: only_true(source.read_only),
        volume_attributes: Some(attributes([(share_key(version), source.share_name)])),
        node_stage_secret_ref: Some(secret(&source.secret_name, namespace)),
        ..CSIPersistentVolumeSource::default()
    };
    inline_pv(name, csi, "ReadWriteMany")
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let mut file = AzureFilePersistentVolumeSource {
        read_only: only_true(source.read_only),
        ..AzureFilePersistentVolumeSource::default()
    };
    let secret = source.node_stage_secret_ref.unwrap_or_default();
    let has_secret = secret.name.as_deref().is_some_and(|it| !it.is_empty());
    for (key, value) in source.volume_attributes.unwrap_or_default() {
        if since(version, 18) {
            set(&mut file, &lower(&key), value);
        } else if key == "shareName" && has_secret {
            // Without a secret the handle said everything.
            file.share_name = value;
        }
    }
    if has_secret {
        file.secret_name = secret.name.unwrap_or_default();
        file.secret_namespace = Some(secret.namespace.unwrap_or_default());
        if !since(version, 18) {
            spec(&mut pv).azure_file = Some(file);
            return Ok(pv);
        }
    }
    if file.share_name.is_empty() || file.secret_name.is_empty() {
        let group = fill_from_handle(&mut file, &source.volume_handle)?;
        if !group.is_empty() {
            let annotations = pv.metadata.annotations.get_or_insert_default();
            annotations.insert(RESOURCE_GROUP.to_owned(), group);
        }
    }
    if since(version, 18) {
        file.secret_namespace
            .get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
    }
    spec(&mut pv).azure_file = Some(file);
    Ok(pv)
}

fn set(file: &mut AzureFilePersistentVolumeSource, key: &str, value: String) {
    match key {
        "sharename" => file.share_name = value,
        "secretname" => file.secret_name = value,
        "secretnamespace" => file.secret_namespace = Some(value),
        _ => {}
    }
}

/// The resource group of the handle, whose other parts go where something is missing.
fn fill_from_handle(file: &mut AzureFilePersistentVolumeSource, handle: &str) -> Result<String> {
    let parts: Vec<&str> = handle.split('#').collect();
    let [group, account, share, ..] = parts.as_slice() else {
        return Err(TranslateError::Handle {
            handle: handle.to_owned(),
            form: "GROUP#ACCOUNT#SHARE",
        });
    };
    if file.share_name.is_empty() {
        (*share).clone_into(&mut file.share_name);
    }
    if file.secret_name.is_empty() {
        file.secret_name = format!("{SECRET_PREFIX}{account}{SECRET_SUFFIX}");
    }
    Ok((*group).to_owned())
}

fn share_key(version: KubernetesVersion) -> &'static str {
    if since(version, 18) {
        SHARE_NAME
    } else {
        "shareName"
    }
}

/// The storage account, out of the name that Kubernetes gives its secret; else that name itself.
fn account(secret_name: &str) -> &str {
    let lines = secret_name.split('\n');
    let found = lines.filter_map(|line| {
        let begin = line.find(SECRET_PREFIX)? + SECRET_PREFIX.len();
        let end = line.rfind(SECRET_SUFFIX)?;
        line.get(begin..end).filter(|it| !it.is_empty())
    });
    found.into_iter().next().unwrap_or(secret_name)
}

/// The namespace of the secret; before 1.21 it was `default` where the volume names none.
fn namespace(
    pv: &PersistentVolume,
    source: &AzureFilePersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<String> {
    if !since(version, 21) {
        return Ok(source
            .secret_namespace
            .clone()
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()));
    }
    let claim = pv.spec.as_ref().and_then(|it| it.claim_ref.as_ref());
    let of_claim = claim.and_then(|it| it.namespace.clone());
    let namespace = source
        .secret_namespace
        .clone()
        .or(of_claim)
        .unwrap_or_default();
    if namespace.is_empty() {
        return Err(TranslateError::SecretNamespace);
    }
    Ok(namespace)
}
