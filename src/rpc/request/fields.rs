//! Single fields, and the limits that CSI sets to them (CSI 1.13, "Size Limits").

use std::collections::HashMap;
use std::path::Path;

use super::{InvalidRequest, Result};
use crate::volume::{Name, NodeId, TargetPath};

/// The longest string that CSI allows where it says nothing else, in bytes.
const MAX_STRING: usize = 128;
/// The largest map, all keys and values together, in bytes.
pub(super) const MAX_MAP: usize = 4096;

/// A field that must be there.
pub(in crate::rpc) fn required<'a>(field: &'static str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() {
        return Err(InvalidRequest::Missing(field));
    }
    optional(field, value)
}

/// A field that may be empty.
pub(in crate::rpc) fn optional<'a>(field: &'static str, value: &'a str) -> Result<&'a str> {
    if value.len() > MAX_STRING {
        return Err(InvalidRequest::TooLong {
            field,
            bytes: value.len(),
            limit: MAX_STRING,
        });
    }
    Ok(value)
}

/// A name that the CO gives.
pub(in crate::rpc) fn name(value: &str) -> Result<Name> {
    let field = "name";
    required(field, value)?;
    Name::parse(value).map_err(|source| InvalidRequest::Name { field, source })
}

/// The id of a node.
pub(in crate::rpc) fn node_id(value: &str) -> Result<NodeId> {
    let field = "node_id";
    required(field, value)?;
    NodeId::parse(value).map_err(|source| InvalidRequest::Name { field, source })
}

/// A map within CSI's limit.
pub(in crate::rpc) fn map(field: &'static str, map: &HashMap<String, String>) -> Result<()> {
    let bytes = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_MAP {
        return Err(InvalidRequest::TooLong {
            field,
            bytes,
            limit: MAX_MAP,
        });
    }
    Ok(())
}

/// A path below the kubelet's directory `root`.
pub(in crate::rpc) fn target_path(
    field: &'static str,
    root: &Path,
    path: &str,
) -> Result<TargetPath> {
    if path.is_empty() {
        return Err(InvalidRequest::Missing(field));
    }
    TargetPath::parse(root, path).map_err(|source| InvalidRequest::Path { field, source })
}

/// `max_entries`: 0 sets no limit.
pub(in crate::rpc) fn maximum(max_entries: i32) -> Result<Option<usize>> {
    match usize::try_from(max_entries) {
        Ok(0) => Ok(None),
        Ok(maximum) => Ok(Some(maximum)),
        Err(_) => Err(InvalidRequest::Negative {
            field: "max_entries",
            value: max_entries.into(),
        }),
    }
}
