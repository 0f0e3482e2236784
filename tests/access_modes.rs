//! The access-mode matrix (CSI 1.13, "AccessMode"): volume, mode, second target, read-only.

mod common;

use common::{Driver, code, mode};
use offshoot::csi;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessType, BlockVolume, MountVolume};
use tonic::Code;

const MODES: [Mode; 7] = [
    Mode::SingleNodeWriter,
    Mode::SingleNodeReaderOnly,
    Mode::MultiNodeReaderOnly,
    Mode::MultiNodeSingleWriter,
    Mode::MultiNodeMultiWriter,
    Mode::SingleNodeSingleWriter,
    Mode::SingleNodeMultiWriter,
];

fn types() -> [AccessType; 2] {
    [
        AccessType::Mount(MountVolume::default()),
        AccessType::Block(BlockVolume {}),
    ]
}

fn is_block(access_type: &AccessType) -> bool {
    matches!(access_type, AccessType::Block(_))
}

fn reads_only(mode: Mode) -> bool {
    matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly)
}

/// Writers on several nodes need raw block; everything else can be.
fn possible(access_type: &AccessType, mode: Mode) -> bool {
    is_block(access_type)
        || !matches!(
            mode,
            Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter
        )
}

#[tokio::test]
async fn every_combination() {
    let mut driver = Driver::start().await;
    let mut checked = 0;
    for access_type in types() {
        for access_mode in MODES {
            for read_only in [false, true] {
                one(&mut driver, access_type.clone(), access_mode, read_only).await;
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 28);
}

async fn one(driver: &mut Driver, access_type: AccessType, access_mode: Mode, read_only: bool) {
    let case = format!(
        "block={} {} readonly={read_only}",
        is_block(&access_type),
        access_mode.as_str_name()
    );
    let capability = mode(access_type.clone(), access_mode);
    let name = format!("v-{case}");
    if !possible(&access_type, access_mode) {
        let refused = driver
            .controller
            .create_volume(common::create(&name, capability))
            .await;
        assert_eq!(code(&refused), Code::InvalidArgument, "{case}");
        return;
    }
    let id = driver.staged(&name, capability.clone()).await;
    let publish = |target: &str, read_only| {
        let mut request = driver.publish(&id, &format!("{id}-{target}"), capability.clone());
        request.readonly = read_only;
        let mut node = driver.node.clone();
        async move { code(&node.node_publish_volume(request).await) }
    };
    for time in ["the first target", "the same again"] {
        assert_eq!(publish("a", read_only).await, Code::Ok, "{case}: {time}");
    }
    // Reading only is what some modes say already.
    let changed = if reads_only(access_mode) {
        Code::Ok
    } else {
        Code::AlreadyExists
    };
    assert_eq!(
        publish("a", !read_only).await,
        changed,
        "{case}: the other readonly"
    );
    let second = match access_mode {
        Mode::SingleNodeSingleWriter => Code::FailedPrecondition,
        _ => Code::Ok,
    };
    assert_eq!(
        publish("b", read_only).await,
        second,
        "{case}: a second target"
    );
    take_back(driver, &id).await;
}

/// A target that was taken back can be had by the next workload, also with the exclusive mode.
async fn take_back(driver: &mut Driver, id: &str) {
    for target in ["a", "b"] {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: driver.path(&format!("{id}-{target}")),
        };
        driver
            .node
            .node_unpublish_volume(request)
            .await
            .expect("it succeeds");
    }
    let request = csi::NodeUnstageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: driver.path(&format!("{id}-staging")),
    };
    driver
        .node
        .node_unstage_volume(request)
        .await
        .expect("it succeeds");
    assert!(!std::path::Path::new(&driver.path(&format!("{id}-a"))).exists());
}
