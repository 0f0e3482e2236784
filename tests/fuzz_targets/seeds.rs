//! Seeds that are no text: `FUZZ_WRITE_SEEDS=1 cargo test --test fuzz_targets` writes them anew when messages change.

use std::path::PathBuf;

use offshoot::csi;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use offshoot::fuzzing::{Message, message};
use offshoot::volume::{Name, SnapshotId, VolumeId};

pub(crate) fn write_if_asked(folder: fn(&str) -> PathBuf) {
    if std::env::var_os("FUZZ_WRITE_SEEDS").is_none() {
        return;
    }
    for (target, name, bytes) in all() {
        std::fs::create_dir_all(folder(target)).expect("a folder");
        std::fs::write(folder(target).join(name), bytes).expect("a seed");
    }
}

fn call(method: u8, request: &impl prost::Message) -> Message {
    Message(method, request.encode_to_vec())
}

fn map(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn capability(block: bool) -> csi::VolumeCapability {
    let mount = MountVolume {
        fs_type: "xfs".to_owned(),
        mount_flags: vec!["noatime,discard".to_owned()],
        ..MountVolume::default()
    };
    csi::VolumeCapability {
        access_type: Some(if block {
            AccessType::Block(BlockVolume {})
        } else {
            AccessType::Mount(mount)
        }),
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
    }
}

fn volume_id() -> String {
    VolumeId::for_name(&Name::parse("v").expect("a name")).to_string()
}

fn snapshot_id() -> String {
    SnapshotId::for_name(&Name::parse("s").expect("a name")).to_string()
}

fn create(block: bool) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: "v".to_owned(),
        capacity_range: Some(csi::CapacityRange {
            required_bytes: 1 << 30,
            limit_bytes: 1 << 31,
        }),
        volume_capabilities: vec![capability(block)],
        parameters: map(&[
            ("provisioning", "thick"),
            ("csi.storage.k8s.io/pvc/name", "c"),
        ]),
        mutable_parameters: map(&[("readAheadKiB", "64")]),
        secrets: map(&[("key", "secret")]),
        accessibility_requirements: Some(csi::TopologyRequirement {
            requisite: vec![csi::Topology { segments: map(&[]) }],
            preferred: vec![],
        }),
        volume_content_source: None,
    }
}

fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let create_snapshot = csi::CreateSnapshotRequest {
        source_volume_id: volume_id(),
        name: "s".to_owned(),
        ..Default::default()
    };
    let mut copy = create(false);
    "copy".clone_into(&mut copy.name);
    copy.volume_content_source = Some(csi::VolumeContentSource {
        r#type: Some(csi::volume_content_source::Type::Snapshot(
            csi::volume_content_source::SnapshotSource {
                snapshot_id: snapshot_id(),
            },
        )),
    });
    let publish = csi::ControllerPublishVolumeRequest {
        volume_id: volume_id(),
        node_id: "n".to_owned(),
        volume_capability: Some(capability(false)),
        readonly: true,
        volume_context: map(&[("a", "b")]),
        ..Default::default()
    };
    let expand = csi::ControllerExpandVolumeRequest {
        volume_id: volume_id(),
        capacity_range: Some(csi::CapacityRange {
            required_bytes: 1 << 32,
            limit_bytes: 0,
        }),
        volume_capability: Some(capability(false)),
        ..Default::default()
    };
    let list = csi::ListVolumesRequest {
        max_entries: 1,
        starting_token: volume_id(),
    };
    let delete = csi::DeleteVolumeRequest {
        volume_id: volume_id(),
        ..Default::default()
    };
    let life = [
        call(0, &create(false)),
        call(7, &create_snapshot),
        call(0, &copy),
        call(2, &publish),
        call(11, &expand),
        call(1, &delete),
    ];
    let looks = [
        call(0, &create(true)),
        call(5, &list),
        call(12, &delete),
        call(4, &publish),
    ];
    let mut all = vec![
        ("controller_requests", "life", message(&life)),
        ("controller_requests", "looks", message(&looks)),
    ];
    all.extend(node());
    all.extend(group());
    all.extend(numbers());
    all
}

fn node() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let path = |name: &str| format!("/proc/offshoot/kubelet/{name}");
    let stage = csi::NodeStageVolumeRequest {
        volume_id: volume_id(),
        staging_target_path: path("staging"),
        volume_capability: Some(capability(true)),
        publish_context: map(&[("a", "b")]),
        secrets: map(&[("key", "secret")]),
        ..Default::default()
    };
    let publish = csi::NodePublishVolumeRequest {
        volume_id: volume_id(),
        staging_target_path: path("staging"),
        target_path: path("pods/target"),
        volume_capability: Some(capability(true)),
        ..Default::default()
    };
    let unpublish = csi::NodeUnpublishVolumeRequest {
        volume_id: volume_id(),
        target_path: path("pods/target"),
    };
    let unstage = csi::NodeUnstageVolumeRequest {
        volume_id: volume_id(),
        staging_target_path: path("staging"),
    };
    let stats = csi::NodeGetVolumeStatsRequest {
        volume_id: volume_id(),
        volume_path: path("pods/target"),
        ..Default::default()
    };
    let expand = csi::NodeExpandVolumeRequest {
        volume_id: volume_id(),
        volume_path: path("staging"),
        capacity_range: Some(csi::CapacityRange::default()),
        ..Default::default()
    };
    let life = [
        call(9, &create(true)),
        call(0, &stage),
        call(2, &publish),
        call(4, &stats),
        call(7, &expand),
        call(3, &unpublish),
        call(1, &unstage),
    ];
    let mut mounted = stage.clone();
    mounted.volume_capability = Some(capability(false));
    vec![
        ("node_requests", "life", message(&life)),
        (
            "node_requests",
            "mount",
            message(&[call(9, &create(false)), call(0, &mounted)]),
        ),
    ]
}

fn group() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let cut = csi::CreateVolumeGroupSnapshotRequest {
        name: "g".to_owned(),
        source_volume_ids: vec![volume_id()],
        ..Default::default()
    };
    let delete = csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: "g1-0123456789abcdef0123456789abcdef".to_owned(),
        snapshot_ids: vec![snapshot_id()],
        ..Default::default()
    };
    let life = [call(3, &create(true)), call(0, &cut), call(2, &delete)];
    vec![
        ("group_requests", "life", message(&life)),
        ("group_requests", "delete", message(&[call(1, &delete)])),
    ]
}

/// Superblocks, sizes and a sealed record.
fn numbers() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut ext4 = vec![0; 1024];
    ext4[4..8].copy_from_slice(&[0, 64, 0, 0]);
    ext4[24] = 2;
    ext4[56..58].copy_from_slice(&[0x53, 0xef]);
    ext4[96] = 0x80;
    // Found by fuzzing: the size of a block overflowed.
    let mut huge_blocks = ext4.clone();
    huge_blocks[24..28].fill(0xff);
    let mut xfs = vec![0; 512];
    xfs[..8].copy_from_slice(b"XFSB\0\0\x10\0");
    xfs[14] = 1;
    let mut btrfs = vec![0; 512];
    btrfs[64..72].copy_from_slice(b"_BHRfS_M");
    let sizes = |all: [u64; 4]| all.iter().flat_map(|it| it.to_le_bytes()).collect();
    vec![
        ("superblocks", "ext4", ext4),
        ("superblocks", "huge_blocks", huge_blocks),
        ("superblocks", "xfs", xfs),
        ("superblocks", "btrfs", btrfs),
        ("capacities", "plain", sizes([1 << 30, 0, 1 << 30, 1 << 20])),
        ("capacities", "range", sizes([4097, 8191, 1 << 30, 4096])),
        (
            "capacities",
            "large",
            sizes([i64::MAX.cast_unsigned(), 0, u64::MAX, u64::MAX]),
        ),
        ("records", "short", vec![1, 0, 0, 0, 0, b'{', b'}']),
        ("records", "newer", vec![2]),
    ]
}
