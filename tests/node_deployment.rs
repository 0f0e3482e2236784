//! `--node-deployment`: each node serves its own volumes, and some callers ask the wrong one.
//!
//! The resizer of every node is told of every claim that grows. With NOT_FOUND it would mark the claim infeasible while the
//! right node is growing its volume; so the wrong node answers with a code that settles nothing.

mod common;

use common::{Driver, MIB, UNKNOWN, code, create, mount, parameters, range};
use offshoot::csi;
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Code;

fn expand(id: &str) -> csi::ControllerExpandVolumeRequest {
    csi::ControllerExpandVolumeRequest {
        volume_id: id.to_owned(),
        capacity_range: Some(range(64 * MIB, 0)),
        ..Default::default()
    }
}

fn modify(id: &str) -> csi::ControllerModifyVolumeRequest {
    csi::ControllerModifyVolumeRequest {
        volume_id: id.to_owned(),
        mutable_parameters: parameters(&[("readAheadKiB", "128")]),
        ..Default::default()
    }
}

/// What growing, changing and copying a volume that is not here gives.
async fn answers(flags: &[&str]) -> [Code; 4] {
    let mut driver = Driver::start_with(flags).await;
    let grown = driver.controller.controller_expand_volume(expand(UNKNOWN));
    let grown = code(&grown.await);
    let changed = driver.controller.controller_modify_volume(modify(UNKNOWN));
    let changed = code(&changed.await);
    let mut copied = Vec::new();
    for source in [
        Type::Volume(VolumeSource {
            volume_id: UNKNOWN.to_owned(),
        }),
        Type::Snapshot(SnapshotSource {
            snapshot_id: UNKNOWN.replacen('v', "s", 1),
        }),
    ] {
        let request = csi::CreateVolumeRequest {
            volume_content_source: Some(csi::VolumeContentSource {
                r#type: Some(source),
            }),
            ..create("copy", mount())
        };
        copied.push(code(&driver.controller.create_volume(request).await));
    }
    [grown, changed, copied[0], copied[1]]
}

#[tokio::test]
async fn what_is_not_here_may_be_on_another_node() {
    let settled = [Code::NotFound; 4];
    assert_eq!(answers(&[]).await, settled);
    let open = [
        Code::Unavailable,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::ResourceExhausted,
    ];
    assert_eq!(answers(&["--node-deployment"]).await, open);
}

#[tokio::test]
async fn what_is_here_is_served_as_ever() {
    let mut driver = Driver::start_with(&["--node-deployment"]).await;
    let volume = driver.controller.create_volume(create("v", mount())).await;
    let volume = volume.expect("it succeeds").into_inner().volume;
    let id = volume.expect("a volume").volume_id;
    let grown = driver.controller.controller_expand_volume(expand(&id));
    grown.await.expect("it succeeds");
    let changed = driver.controller.controller_modify_volume(modify(&id));
    changed.await.expect("it succeeds");
    // An id that no node of ours made names nothing anywhere.
    let foreign = driver
        .controller
        .controller_expand_volume(expand("fake-vol-id"));
    assert_eq!(code(&foreign.await), Code::NotFound);
}
