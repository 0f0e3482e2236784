//! Malformed, oversized, missing and hostile input: the mandated code, a message, and nothing changed by it.

mod common;

use common::{Driver, block, code, create, mode, mount, parameters, with_flags};
use offshoot::csi;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessType, MountVolume};
use tonic::Code;

/// Everything that the driver holds.
async fn inventory(driver: &mut Driver) -> (Vec<csi::list_volumes_response::Entry>, usize) {
    let volumes = driver
        .controller
        .list_volumes(csi::ListVolumesRequest::default())
        .await;
    let snapshots = driver
        .controller
        .list_snapshots(csi::ListSnapshotsRequest::default())
        .await;
    (
        volumes.expect("it succeeds").into_inner().entries,
        snapshots.expect("it succeeds").into_inner().entries.len(),
    )
}

fn large_map() -> std::collections::HashMap<String, String> {
    parameters(&[("key", &"x".repeat(5000))])
}

fn with_fs(fs_type: &str) -> csi::VolumeCapability {
    let volume = MountVolume {
        fs_type: fs_type.to_owned(),
        ..MountVolume::default()
    };
    mode(AccessType::Mount(volume), Mode::SingleNodeWriter)
}

fn bad_creations() -> Vec<(&'static str, csi::CreateVolumeRequest)> {
    let base = || create("hostile", mount());
    let with = |change: fn(&mut csi::CreateVolumeRequest)| {
        let mut request = base();
        change(&mut request);
        request
    };
    vec![
        ("no name", with(|it| it.name.clear())),
        ("long name", with(|it| it.name = "n".repeat(129))),
        ("control character", with(|it| it.name.push('\u{1}'))),
        ("zero byte", with(|it| it.name.push('\0'))),
        ("no capability", with(|it| it.volume_capabilities.clear())),
        (
            "no access mode",
            with(|it| it.volume_capabilities[0].access_mode = None),
        ),
        (
            "no access type",
            with(|it| it.volume_capabilities[0].access_type = None),
        ),
        (
            "unknown mode",
            with(|it| {
                it.volume_capabilities[0].access_mode =
                    Some(csi::volume_capability::AccessMode { mode: 99 });
            }),
        ),
        (
            "filesystem",
            with(|it| it.volume_capabilities = vec![with_fs("ntfs")]),
        ),
        (
            "path as filesystem",
            with(|it| it.volume_capabilities = vec![with_fs("../../bin/sh")]),
        ),
        ("large parameters", with(|it| it.parameters = large_map())),
        ("large secrets", with(|it| it.secrets = large_map())),
        (
            "unknown mutable parameter",
            with(|it| it.mutable_parameters = parameters(&[("x", "y")])),
        ),
        (
            "empty source",
            with(|it| it.volume_content_source = Some(csi::VolumeContentSource { r#type: None })),
        ),
        (
            "many mount flags",
            with(|it| it.volume_capabilities = vec![with_flags(&["noatime,"; 600])]),
        ),
    ]
}

#[tokio::test]
async fn bad_creations_are_refused_and_change_nothing() {
    let mut driver = Driver::start().await;
    driver.volume("innocent", mount()).await;
    let before = inventory(&mut driver).await;
    for (what, request) in bad_creations() {
        let refused = driver.controller.create_volume(request).await;
        assert_eq!(code(&refused), Code::InvalidArgument, "{what}");
    }
    for flag in [
        "suid",
        "dev",
        "loop",
        "bind",
        "rbind",
        "remount",
        "X-mount.mkdir",
        "errors=panic",
        "noload",
        "context=a b",
    ] {
        let refused = driver
            .controller
            .create_volume(create("flags", with_flags(&[flag])))
            .await;
        assert_eq!(code(&refused), Code::InvalidArgument, "{flag}");
    }
    assert!(
        inventory(&mut driver).await == before,
        "nothing may have changed"
    );
}

#[tokio::test]
async fn ids_of_any_form_are_looked_up_safely() {
    let mut driver = Driver::start().await;
    let id = driver.volume("innocent", block()).await;
    let before = inventory(&mut driver).await;
    let hostile = [
        "../../etc/passwd",
        "v1-../../../../../../../etc/passwd",
        "/",
        ".",
        "\u{1F4BE}",
        "v1-",
        "' OR 1=1",
        &id.to_uppercase(),
    ];
    for hostile in hostile {
        let get = csi::ControllerGetVolumeRequest {
            volume_id: hostile.to_owned(),
        };
        assert_eq!(
            code(&driver.controller.controller_get_volume(get).await),
            Code::NotFound,
            "{hostile}"
        );
        let delete = csi::DeleteVolumeRequest {
            volume_id: hostile.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            code(&driver.controller.delete_volume(delete).await),
            Code::Ok,
            "{hostile}"
        );
    }
    let long = csi::DeleteVolumeRequest {
        volume_id: "v".repeat(129),
        ..Default::default()
    };
    assert_eq!(
        code(&driver.controller.delete_volume(long).await),
        Code::InvalidArgument
    );
    assert!(
        inventory(&mut driver).await == before,
        "nothing may have changed"
    );
}

#[tokio::test]
async fn paths_stay_below_the_kubelet() {
    let mut driver = Driver::start().await;
    let id = driver.staged("innocent", mount()).await;
    let inside = driver.path("target");
    let hostile = [
        "relative/path".to_owned(),
        "/etc".to_owned(),
        "/".to_owned(),
        driver.path("a/../../../etc"),
        driver.path("./a"),
        driver.path("a\0b"),
        driver.dir().join("kubelet").display().to_string(),
        driver.dir().join("kubelet-other").display().to_string(),
        format!("{inside}/{}", "x".repeat(5000)),
    ];
    for path in hostile {
        let mut stage = driver.stage(&id, mount());
        stage.staging_target_path.clone_from(&path);
        let mut publish = driver.publish(&id, "target", mount());
        publish.target_path.clone_from(&path);
        let unpublish = csi::NodeUnpublishVolumeRequest {
            volume_id: id.clone(),
            target_path: path.clone(),
        };
        let codes = [
            code(&driver.node.node_stage_volume(stage).await),
            code(&driver.node.node_publish_volume(publish).await),
            code(&driver.node.node_unpublish_volume(unpublish).await),
        ];
        assert_eq!(codes, [Code::InvalidArgument; 3], "{path:?}");
    }
    assert!(!std::path::Path::new(&inside).exists());
}

#[tokio::test]
async fn a_giant_message_does_not_hurt() {
    let mut driver = Driver::start().await;
    let mut request = create("giant", mount());
    request.parameters = (0..30_000)
        .map(|number| (format!("key-{number}"), "x".repeat(100)))
        .collect();
    let refused = driver.controller.create_volume(request).await;
    assert_ne!(code(&refused), Code::Ok);
    let probe = driver.identity.probe(csi::ProbeRequest {}).await;
    assert_eq!(code(&probe), Code::Ok, "the driver answers on");
}
