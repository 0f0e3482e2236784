//! Each row of the code table (style.md 4.5, CSI 1.13 "Error Scheme" of each RPC), over the real socket.

mod common;

use common::{
    Driver, MIB, UNKNOWN, block, code, create, create_snapshot, mode, mount, parameters,
    publish_to_node, range, with_flags,
};
use offshoot::csi;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessType, BlockVolume, MountVolume};
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Code;

/// Ids that name nothing: of our form, and of a foreign one.
const NOTHING: [&str; 2] = [UNKNOWN, "fake-vol-id"];

fn from(source: Type) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        volume_content_source: Some(csi::VolumeContentSource {
            r#type: Some(source),
        }),
        ..create("copy", mount())
    }
}

fn from_volume(id: &str) -> csi::CreateVolumeRequest {
    from(Type::Volume(VolumeSource {
        volume_id: id.to_owned(),
    }))
}

fn from_snapshot(id: &str) -> csi::CreateVolumeRequest {
    from(Type::Snapshot(SnapshotSource {
        snapshot_id: id.to_owned(),
    }))
}

#[tokio::test]
async fn creating() {
    let mut driver = Driver::start().await;
    let call = |request: csi::CreateVolumeRequest| {
        let mut controller = driver.controller.clone();
        async move { controller.create_volume(request).await }
    };
    let base = create("volume", mount());
    let first = call(base.clone()).await.expect("it succeeds").into_inner();
    let again = call(base.clone()).await.expect("it succeeds").into_inner();
    assert_eq!(
        first.volume.expect("it succeeds").volume_id,
        again.volume.expect("it succeeds").volume_id
    );

    let mut other = base.clone();
    other.capacity_range = Some(range(1024 * MIB, 0));
    assert_eq!(
        code(&call(other).await),
        Code::AlreadyExists,
        "another size"
    );
    let mut other = base.clone();
    other.volume_capabilities = vec![block()];
    assert_eq!(
        code(&call(other).await),
        Code::AlreadyExists,
        "another access type"
    );
    let mut other = base.clone();
    other.parameters = parameters(&[("provisioning", "thick")]);
    assert_eq!(
        code(&call(other).await),
        Code::AlreadyExists,
        "other parameters"
    );
    let mut other = from_snapshot(
        &driver
            .snapshot("s", &driver_volume(&driver, "volume").await)
            .await,
    );
    other.name = "volume".to_owned();
    let mut controller = driver.controller.clone();
    assert_eq!(
        code(&controller.create_volume(other).await),
        Code::AlreadyExists,
        "another source"
    );
}

/// The id of a volume that exists.
async fn driver_volume(driver: &Driver, name: &str) -> String {
    let mut controller = driver.controller.clone();
    let found = controller
        .create_volume(create(name, mount()))
        .await
        .expect("it succeeds");
    found.into_inner().volume.expect("it succeeds").volume_id
}

#[tokio::test]
async fn creating_what_cannot_be() {
    let mut driver = Driver::start().await;
    let block_volume = driver.volume("block", block()).await;
    let shared_filesystem = mode(
        AccessType::Mount(MountVolume::default()),
        Mode::MultiNodeMultiWriter,
    );
    let mut sizes = [(); 3].map(|()| create("sizes", mount()));
    sizes[0].capacity_range = Some(range(-1, 0));
    sizes[1].capacity_range = Some(range(2 * MIB, MIB));
    sizes[2].capacity_range = Some(range(0, 8192));
    let expected = [
        Code::InvalidArgument,
        Code::InvalidArgument,
        Code::OutOfRange,
    ];
    for (request, expected) in sizes.into_iter().zip(expected) {
        assert_eq!(
            code(&driver.controller.create_volume(request).await),
            expected
        );
    }
    let mut elsewhere = create("elsewhere", mount());
    elsewhere.accessibility_requirements = Some(csi::TopologyRequirement {
        requisite: vec![csi::Topology {
            segments: parameters(&[("topology.offshoot.dev/node", "another")]),
        }],
        preferred: Vec::new(),
    });
    let mut huge = create("huge", mount());
    huge.capacity_range = Some(range(i64::MAX, 0));
    let mut unknown_parameter = create("parameter", mount());
    unknown_parameter.parameters = parameters(&[("fancy", "yes")]);
    let mut contradiction = create("contradiction", mount());
    contradiction.volume_capabilities.push(block());
    let cases = [
        (elsewhere, Code::ResourceExhausted),
        (huge, Code::ResourceExhausted),
        (unknown_parameter, Code::InvalidArgument),
        (contradiction, Code::InvalidArgument),
        (create("shared", shared_filesystem), Code::InvalidArgument),
        (
            create("flags", with_flags(&["suid"])),
            Code::InvalidArgument,
        ),
        (from_volume(UNKNOWN), Code::NotFound),
        (from_volume("fake"), Code::NotFound),
        (from_snapshot("fake"), Code::NotFound),
        (from_volume(&block_volume), Code::InvalidArgument),
    ];
    for (request, expected) in cases {
        let name = request.name.clone();
        assert_eq!(
            code(&driver.controller.create_volume(request).await),
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn deleting() {
    let mut driver = Driver::start().await;
    for id in NOTHING {
        let request = csi::DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            code(&driver.controller.delete_volume(request).await),
            Code::Ok
        );
    }
    let id = driver.volume("v", mount()).await;
    driver
        .controller
        .controller_publish_volume(publish_to_node(&id, mount()))
        .await
        .expect("it succeeds");
    let request = csi::DeleteVolumeRequest {
        volume_id: id,
        ..Default::default()
    };
    let refused = driver.controller.delete_volume(request).await;
    assert_eq!(code(&refused), Code::FailedPrecondition, "published");
}

#[tokio::test]
async fn publishing_to_a_node() {
    let mut driver = Driver::start_with(&["--max-volumes-per-node", "1"]).await;
    let id = driver.volume("v", mount()).await;
    let other = driver.volume("other", mount()).await;
    for nothing in NOTHING {
        let refused = driver
            .controller
            .controller_publish_volume(publish_to_node(nothing, mount()));
        assert_eq!(code(&refused.await), Code::NotFound, "{nothing}");
    }
    let mut unknown_node = publish_to_node(&id, mount());
    unknown_node.node_id = "nowhere".to_owned();
    assert_eq!(
        code(
            &driver
                .controller
                .controller_publish_volume(unknown_node)
                .await
        ),
        Code::NotFound
    );
    let as_block = driver
        .controller
        .controller_publish_volume(publish_to_node(&id, block()))
        .await;
    assert_eq!(
        code(&as_block),
        Code::FailedPrecondition,
        "a filesystem is no block volume"
    );
    for _ in 0..2 {
        let published = driver
            .controller
            .controller_publish_volume(publish_to_node(&id, mount()));
        assert_eq!(code(&published.await), Code::Ok);
    }
    let mut read_only = publish_to_node(&id, mount());
    read_only.readonly = true;
    let refused = driver.controller.controller_publish_volume(read_only).await;
    assert_eq!(code(&refused), Code::AlreadyExists, "another readonly");
    let full = driver
        .controller
        .controller_publish_volume(publish_to_node(&other, mount()))
        .await;
    assert_eq!(code(&full), Code::ResourceExhausted, "the node is full");
    for volume_id in [id.as_str(), id.as_str(), UNKNOWN, "fake"] {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            code(&driver.controller.controller_unpublish_volume(request).await),
            Code::Ok
        );
    }
}

#[tokio::test]
async fn expanding_and_modifying() {
    let mut driver = Driver::start().await;
    let id = driver.volume("v", mount()).await;
    let expand = |id: &str, capacity| csi::ControllerExpandVolumeRequest {
        volume_id: id.to_owned(),
        capacity_range: capacity,
        ..Default::default()
    };
    let cases = [
        (expand(&id, None), Code::InvalidArgument),
        (expand(UNKNOWN, Some(range(MIB, 0))), Code::NotFound),
        (expand(&id, Some(range(MIB, 2 * MIB))), Code::OutOfRange),
        (
            expand(&id, Some(range(i64::MAX, 0))),
            Code::ResourceExhausted,
        ),
        (expand(&id, Some(range(MIB, 0))), Code::Ok),
        (expand(&id, Some(range(1024 * MIB, 0))), Code::Ok),
    ];
    for (request, expected) in cases {
        assert_eq!(
            code(&driver.controller.controller_expand_volume(request).await),
            expected
        );
    }
    let modify = |id: &str, pairs: &[(&str, &str)]| csi::ControllerModifyVolumeRequest {
        volume_id: id.to_owned(),
        mutable_parameters: parameters(pairs),
        ..Default::default()
    };
    let cases = [
        (modify(UNKNOWN, &[("directIo", "true")]), Code::NotFound),
        (modify(&id, &[]), Code::InvalidArgument),
        (modify(&id, &[("XXX", "1")]), Code::InvalidArgument),
        (
            modify(&id, &[("directIo", "true"), ("readAheadKiB", "-1")]),
            Code::InvalidArgument,
        ),
        (modify(&id, &[("readAheadKiB", "64")]), Code::Ok),
        (modify(&id, &[("readAheadKiB", "64")]), Code::Ok),
    ];
    for (request, expected) in cases {
        assert_eq!(
            code(&driver.controller.controller_modify_volume(request).await),
            expected
        );
    }
}

#[tokio::test]
async fn snapshots_and_groups() {
    let mut driver = Driver::start().await;
    let (one, two) = (
        driver.volume("1", mount()).await,
        driver.volume("2", mount()).await,
    );
    driver.snapshot("s", &one).await;
    let other = driver
        .controller
        .create_snapshot(create_snapshot("s", &two))
        .await;
    assert_eq!(code(&other), Code::AlreadyExists, "another volume");
    for nothing in NOTHING {
        let refused = driver
            .controller
            .create_snapshot(create_snapshot("x", nothing))
            .await;
        assert_eq!(code(&refused), Code::NotFound, "{nothing}");
    }
    let group = |name: &str, ids: &[&str]| csi::CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    };
    let cut = driver
        .groups
        .create_volume_group_snapshot(group("g", &[&two, &one]))
        .await;
    let cut = cut
        .expect("it succeeds")
        .into_inner()
        .group_snapshot
        .expect("it succeeds");
    assert_eq!(cut.snapshots.len(), 2);
    assert!(
        cut.snapshots
            .iter()
            .all(|it| it.group_snapshot_id == cut.group_snapshot_id)
    );
    let with = |parameter: &str| csi::CreateVolumeGroupSnapshotRequest {
        parameters: parameters(&[(parameter, "Retain")]),
        ..group("g", &[&one, &two])
    };
    let cases = [
        (group("g", &[&one, &two]), Code::Ok),
        (with("deletionPolicy"), Code::Ok),
        (with("fancy"), Code::InvalidArgument),
        (group("g", &[&one]), Code::AlreadyExists),
        (group("h", &[]), Code::InvalidArgument),
        (group("h", &[&one, UNKNOWN]), Code::NotFound),
        (group("h", &[&one, "fake"]), Code::NotFound),
    ];
    for (request, expected) in cases {
        assert_eq!(
            code(&driver.groups.create_volume_group_snapshot(request).await),
            expected
        );
    }
    let member = csi::DeleteSnapshotRequest {
        snapshot_id: cut.snapshots[0].snapshot_id.clone(),
        ..Default::default()
    };
    assert_eq!(
        code(&driver.controller.delete_snapshot(member).await),
        Code::InvalidArgument
    );
    let delete = |members: Vec<String>| csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: cut.group_snapshot_id.clone(),
        snapshot_ids: members,
        ..Default::default()
    };
    let refused = driver
        .groups
        .delete_volume_group_snapshot(delete(vec!["other".to_owned()]))
        .await;
    assert_eq!(code(&refused), Code::InvalidArgument, "other members");
    let members = cut
        .snapshots
        .iter()
        .map(|it| it.snapshot_id.clone())
        .collect::<Vec<_>>();
    for _ in 0..2 {
        let deleted = driver
            .groups
            .delete_volume_group_snapshot(delete(members.clone()))
            .await;
        assert_eq!(code(&deleted), Code::Ok);
    }
}

#[tokio::test]
async fn lists_and_tokens() {
    let mut driver = Driver::start().await;
    for number in 0..5 {
        driver.volume(&number.to_string(), mount()).await;
    }
    let list = |max_entries, token: &str| csi::ListVolumesRequest {
        max_entries,
        starting_token: token.to_owned(),
    };
    let bad = driver
        .controller
        .list_volumes(list(0, "invalid-token"))
        .await;
    assert_eq!(code(&bad), Code::Aborted);
    let bad = driver.controller.list_volumes(list(-1, "")).await;
    assert_eq!(code(&bad), Code::InvalidArgument);
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = driver
            .controller
            .list_volumes(list(2, &token))
            .await
            .expect("it succeeds")
            .into_inner();
        assert!(page.entries.len() <= 2);
        seen.extend(
            page.entries
                .into_iter()
                .map(|it| it.volume.expect("it succeeds").volume_id),
        );
        token = page.next_token;
        if token.is_empty() {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 5, "each volume once");
}

#[tokio::test]
async fn staging_and_publishing() {
    let mut driver = Driver::start().await;
    let id = driver.staged("v", mount()).await;
    let unstaged = driver.volume("unstaged", mount()).await;
    let stage = |id: &str, capability| driver.stage(id, capability);
    let xfs = MountVolume {
        fs_type: "xfs".to_owned(),
        ..MountVolume::default()
    };
    let xfs = mode(AccessType::Mount(xfs), Mode::SingleNodeWriter);
    let cases = [
        (stage(&id, mount()), Code::Ok),
        (stage(&id, with_flags(&["ro"])), Code::AlreadyExists),
        (stage(&id, with_flags(&["dev"])), Code::InvalidArgument),
        (stage(&id, block()), Code::FailedPrecondition),
        (stage(&id, xfs), Code::FailedPrecondition),
        (stage(UNKNOWN, mount()), Code::NotFound),
        (stage("fake", mount()), Code::NotFound),
    ];
    let mut node = driver.node.clone();
    for (request, expected) in cases {
        assert_eq!(code(&node.node_stage_volume(request).await), expected);
    }
    let publish = |id: &str, capability| driver.publish(id, "target", capability);
    let mut without_staging = publish(&id, mount());
    without_staging.staging_target_path = String::new();
    let mut read_only = publish(&id, mount());
    read_only.readonly = true;
    let cases = [
        (publish(&unstaged, mount()), Code::FailedPrecondition),
        (without_staging, Code::FailedPrecondition),
        (publish(&id, block()), Code::FailedPrecondition),
        (publish(&id, mount()), Code::Ok),
        (publish(&id, mount()), Code::Ok),
        (read_only, Code::AlreadyExists),
        (publish("fake", mount()), Code::NotFound),
    ];
    for (request, expected) in cases {
        assert_eq!(code(&node.node_publish_volume(request).await), expected);
    }
    let unstage = csi::NodeUnstageVolumeRequest {
        volume_id: id.clone(),
        staging_target_path: driver.path(&format!("{id}-staging")),
    };
    let refused = node.node_unstage_volume(unstage).await;
    assert_eq!(code(&refused), Code::FailedPrecondition, "still published");
}

#[tokio::test]
async fn measuring_and_growing_on_the_node() {
    let mut driver = Driver::start().await;
    let id = driver.staged("v", mount()).await;
    let publish = driver.publish(&id, "target", mount());
    driver
        .node
        .node_publish_volume(publish)
        .await
        .expect("it succeeds");
    let target = driver.path("target");
    let stats = |id: &str, path: &str| csi::NodeGetVolumeStatsRequest {
        volume_id: id.to_owned(),
        volume_path: path.to_owned(),
        ..Default::default()
    };
    let cases = [
        (stats(&id, &target), Code::Ok),
        (stats(&id, &driver.path("elsewhere")), Code::NotFound),
        (stats(&id, "some/path"), Code::NotFound),
        (stats("fake", "some/path"), Code::NotFound),
        (stats(&id, ""), Code::InvalidArgument),
    ];
    for (request, expected) in cases {
        assert_eq!(
            code(&driver.node.node_get_volume_stats(request).await),
            expected
        );
    }
    let expand = |id: &str, path: &str, capacity_range| csi::NodeExpandVolumeRequest {
        volume_id: id.to_owned(),
        volume_path: path.to_owned(),
        capacity_range,
        ..Default::default()
    };
    let cases = [
        (expand(&id, &target, None), Code::Ok),
        (
            expand(&id, &target, Some(range(1024 * MIB, 0))),
            Code::OutOfRange,
        ),
        (expand(&id, &driver.path("elsewhere"), None), Code::NotFound),
        (expand("fake", "some/path", None), Code::NotFound),
        (expand(&id, "", None), Code::InvalidArgument),
    ];
    for (request, expected) in cases {
        assert_eq!(
            code(&driver.node.node_expand_volume(request).await),
            expected
        );
    }
}

#[tokio::test]
async fn one_operation_at_a_time_and_all_of_them_succeed_in_the_end() {
    let driver = Driver::start().await;
    let block = mode(AccessType::Block(BlockVolume {}), Mode::SingleNodeWriter);
    let calls = (0..32).map(|_| {
        let mut controller = driver.controller.clone();
        let request = create("contended", block.clone());
        tokio::spawn(async move {
            loop {
                let answer = controller.create_volume(request.clone()).await;
                match code(&answer) {
                    Code::Aborted => tokio::task::yield_now().await,
                    Code::Ok => {
                        return answer
                            .expect("it succeeds")
                            .into_inner()
                            .volume
                            .expect("it succeeds")
                            .volume_id;
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.expect("it succeeds"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one volume");
}
