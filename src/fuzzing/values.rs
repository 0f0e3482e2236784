//! Single values.

use std::collections::HashMap;
use std::path::{Component, Path};

use crate::rpc::Endpoint;
use crate::volume::{
    Bytes, CapacityRange, FsType, GroupSnapshotId, MountFlags, MountOptions, Name, NodeId,
    Settings, SettingsPatch, Shown, SnapshotId, TargetPath, VolumeId,
};

/// A list of mount flags, one a line.
pub(super) fn mount_options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let flags: Vec<String> = text.lines().map(str::to_owned).collect();
    let flags = MountFlags::new(&flags);
    for fs in FsType::ALL {
        match MountOptions::parse(fs, &flags) {
            Ok(options) => {
                for (key, value) in options.filesystem {
                    let plain = |it: &str| it.bytes().all(|b| b.is_ascii_graphic() && b != b',');
                    assert!(plain(&key), "{key:?}");
                    let value = value.unwrap_or_default();
                    let context = key == "context" && value.is_ascii();
                    assert!(context || plain(&value), "{key}={value:?}");
                    assert!(!value.contains(['"', '\\', '/', '\0']), "{key}={value:?}");
                }
            }
            Err(error) => assert!(error.to_string().len() < 1024),
        }
    }
}

/// A path that a CO sends.
pub(super) fn target_path(bytes: &[u8]) {
    let root = Path::new("/var/lib/kubelet");
    let text = String::from_utf8_lossy(bytes);
    for path in [text.to_string(), format!("/var/lib/kubelet/{text}")] {
        match TargetPath::parse(root, &path) {
            Ok(path) => {
                let mut parts = path.relative().components();
                assert!(parts.all(|it| matches!(it, Component::Normal(_))));
                assert!(path.relative().file_name().is_some(), "it has a name");
                let whole = path.to_path_buf();
                assert!(whole.starts_with(root) && whole != root, "{path}");
                let again = TargetPath::parse(root, &path.to_string());
                assert_eq!(again, Ok(path), "it reads back");
            }
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.len() < 4096 && !said.contains(char::is_control),
                    "{said}"
                );
            }
        }
    }
}

/// Names and ids of every kind.
pub(super) fn ids(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let safe = |id: &str| {
        assert_eq!(id, text);
        assert_eq!(id.len(), 35);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(id.bytes().all(plain), "{id:?} is a file name");
    };
    if let Some(id) = VolumeId::parse(&text) {
        safe(id.as_str());
    }
    if let Some(id) = SnapshotId::parse(&text) {
        safe(id.as_str());
    }
    if let Some(id) = GroupSnapshotId::parse(&text) {
        safe(id.as_str());
    }
    if let Ok(name) = Name::parse(&text) {
        assert!((1..=128).contains(&name.as_str().len()));
        let id = VolumeId::for_name(&name);
        assert_eq!(VolumeId::parse(id.as_str()), Some(id));
    }
    if let Ok(node) = NodeId::parse(&text) {
        assert!(!node.as_str().contains(char::is_control));
    }
    let shown = Shown(&text).to_string();
    assert!(shown.len() < 4096 && !shown.contains(char::is_control));
}

/// Two sizes of a request, a default and a minimum: four numbers of eight bytes.
pub(super) fn capacity(bytes: &[u8]) {
    let mut numbers = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|it| u64::from_le_bytes(*it));
    let mut next = || numbers.next().unwrap_or_default();
    let (required, limit) = (next().cast_signed(), next().cast_signed());
    let (default, minimum) = (Bytes(next()), Bytes(next()));
    let Ok(range) = CapacityRange::parse(required, limit) else {
        assert!(required < 0 || limit < 0 || limit < required);
        return;
    };
    if let Ok(size) = range.choose(default, minimum) {
        assert!(range.contains(size), "{range:?} {size}");
        assert!(
            size.0.is_multiple_of(CapacityRange::UNIT),
            "{range:?} {size}"
        );
        // Nothing can be as large as the end of the number line.
        assert!(size >= minimum || minimum.0 > u64::MAX - CapacityRange::UNIT);
        assert!(size.to_i64() >= 0);
    }
}

/// Parameters, one a line: a key, `=` and a value.
pub(super) fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let map: HashMap<String, String> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    match SettingsPatch::parse(&map) {
        Ok(patch) => {
            let once = patch.apply(&Settings::default());
            assert_eq!(
                patch.apply(&once),
                once,
                "the same patch changes nothing more"
            );
            assert!(once.read_ahead_kib.is_none_or(|kib| kib <= 65_536));
        }
        Err(error) => assert!(error.to_string().len() < 4096, "{error}"),
    }
}

/// Where to listen.
pub(super) fn endpoint(bytes: &[u8]) {
    if let Ok(endpoint) = Endpoint::parse(&String::from_utf8_lossy(bytes)) {
        assert!(endpoint.path().is_absolute());
        assert!(endpoint.path().file_name().is_some(), "{endpoint:?}");
    }
}
