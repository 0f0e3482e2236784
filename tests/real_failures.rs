//! Filesystems and devices that fail under a volume: noticed, told, and cleaned up after. Needs root; says so otherwise.

mod machine;

use std::fs;

use machine::{Machine, Scene, block_capability, is_root, mount_capability, tool};
use offshoot::backend::{Backend, NewContents};
use offshoot::node::{HealthPaths, NodePlugin};
use offshoot::volume::{AccessMode, FsType, HealthStatus, Volume};

async fn reasons(node: &NodePlugin, volume: &Volume) -> Vec<(HealthStatus, &'static str)> {
    let health = node.volume_health(&volume.id, HealthPaths::default()).await;
    let health = health.expect("it is known");
    health.iter().map(|it| (it.status, it.reason)).collect()
}

#[tokio::test]
async fn a_filesystem_that_shut_down_is_noticed_and_can_be_staged_again() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Filesystem(FsType::Xfs), 320).await;
    let Scene {
        node,
        volume,
        machine,
        ..
    } = &scene;
    let pod = scene.pod(mount_capability(AccessMode::SingleNodeWriter));
    pod.stage().await.expect("it is staged");
    let target = pod.publish("pod", false).await.expect("it is published");
    fs::write(target.join("file"), "acknowledged").expect("it is written");
    fs::File::open(target.join("file"))
        .and_then(|it| it.sync_all())
        .expect("it is synced");
    assert!(reasons(node, volume).await.is_empty());
    assert!(tool(
        "xfs_io",
        &["-x", "-c", "shutdown", &target.display().to_string()]
    ));
    assert!(fs::metadata(target.join("file")).is_err(), "it is dead");
    assert_eq!(
        reasons(node, volume).await,
        [(HealthStatus::Inaccessible, "MountCorrupted"); 2]
    );
    assert!(
        node.stats(&volume.id, &machine.target("pod"))
            .await
            .is_err()
    );
    pod.unpublish("pod")
        .await
        .expect("a dead mount is taken away");
    pod.unstage().await.expect("a dead mount is taken away");
    pod.stage().await.expect("it is staged again");
    let target = pod
        .publish("pod", false)
        .await
        .expect("it is published again");
    let text = fs::read_to_string(target.join("file")).expect("it is there");
    assert_eq!(text, "acknowledged");
    pod.unpublish("pod").await.expect("it is unpublished");
    pod.unstage().await.expect("it is unstaged");
}

#[tokio::test]
async fn a_filesystem_that_went_read_only_is_told() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Filesystem(FsType::Ext4), 64).await;
    let Scene {
        node,
        volume,
        machine,
        ..
    } = &scene;
    let pod = scene.pod(mount_capability(AccessMode::SingleNodeWriter));
    pod.stage().await.expect("it is staged");
    let staging = machine.path("kubelet/staging");
    assert!(tool("mount", &["-o", "remount,ro", &staging]));
    assert_eq!(
        reasons(node, volume).await,
        [(HealthStatus::Inaccessible, "FilesystemReadOnly")]
    );
    pod.unstage().await.expect("it is unstaged");
}

#[tokio::test]
async fn a_device_that_is_gone_is_told() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Block, 16).await;
    let Scene {
        node,
        backend,
        volume,
        ..
    } = &scene;
    let pod = scene.pod(block_capability());
    pod.stage().await.expect("it is staged");
    pod.publish("pod", false).await.expect("it is published");
    let device = backend
        .attached(&volume.id)
        .await
        .expect("it is known")
        .expect("a device");
    assert!(tool("losetup", &["-d", &device.path.display().to_string()]));
    assert_eq!(
        reasons(node, volume).await,
        [(HealthStatus::Inaccessible, "DeviceGone")]
    );
}
