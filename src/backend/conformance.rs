//! What every backend must do, as a test that each of them runs on an empty instance of itself.
//!
//! It needs some GiB of (thin) room and one node. Panics where a backend breaks a rule, with the rule's name.

use super::{
    AttachMode, Backend, BackendError, Lifetime, NewContents, NewGroupSnapshot, NewSnapshot,
    NewVolume, Origin, Page,
};
use crate::volume::{
    AccessMode, Bytes, Digest, GroupSnapshotId, Name, Node, NodeId, Provisioning, Publication,
    Settings, SnapshotId, Source, Volume, VolumeId,
};

const SIZE: Bytes = Bytes(16 << 20);

/// Runs every rule.
pub async fn run(backend: &dyn Backend) {
    volumes_exist_once(backend).await;
    snapshots_outlive_their_volume(backend).await;
    copies_hold_what_their_source_holds(backend).await;
    groups_are_all_or_nothing(backend).await;
    publications_are_counted(backend).await;
    pages_go_on_where_they_ended(backend).await;
    what_does_not_fit_is_refused(backend).await;
    what_is_missing_is_not_found(backend).await;
    assert!(all(backend).await.is_empty(), "nothing is left");
}

/// The node half: attaches, grows and detaches; real devices need root.
pub async fn run_node(backend: &dyn Backend) {
    let mode = AttachMode {
        read_only: false,
        lifetime: Lifetime::UntilDetached,
    };
    let volume = create(backend, "attached").await;
    let first = attach(backend, &volume.id, mode).await;
    let again = attach(backend, &volume.id, mode).await;
    assert_eq!(first, again, "a second attach finds the same device");
    let other = AttachMode {
        read_only: true,
        ..mode
    };
    let refused = backend.attach(&volume.id, other).await.err();
    assert!(
        matches!(refused, Some(BackendError::InUse { .. })),
        "another mode is refused"
    );
    let refused = backend.delete_volume(&volume.id).await.err();
    assert!(
        matches!(refused, Some(BackendError::InUse { .. })),
        "an attached volume stays"
    );
    ok(
        "grow",
        backend.grow_volume(&volume.id, Bytes(SIZE.0 * 2)).await,
    );
    let refreshed = ok("refresh", backend.refresh(&volume.id).await);
    assert_eq!(
        refreshed.size,
        Bytes(SIZE.0 * 2),
        "the device has the new size"
    );
    ok("detach", backend.detach(&volume.id).await);
    ok("detach again", backend.detach(&volume.id).await);
    let device = ok("attached", backend.attached(&volume.id).await);
    assert_eq!(device, None, "nothing is attached");
    delete(backend, &volume.id).await;
}

fn ok<T>(rule: &str, result: super::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{rule}: {error} ({error:?})"),
    }
}

fn name(name: &str) -> Name {
    match Name::parse(name) {
        Ok(name) => name,
        Err(error) => panic!("{name}: {error}"),
    }
}

fn new_volume(text: &str, origin: Origin) -> NewVolume {
    let name = name(text);
    NewVolume {
        id: VolumeId::for_name(&name),
        name,
        size: SIZE,
        origin,
        settings: Settings::default(),
        request: Digest::of(&[text]),
    }
}

fn new_snapshot(text: &str, source: &VolumeId) -> NewSnapshot {
    let name = name(text);
    NewSnapshot {
        id: SnapshotId::for_name(&name),
        name,
        source: source.clone(),
    }
}

async fn create(backend: &dyn Backend, name: &str) -> Volume {
    let new = new_volume(name, Origin::New(NewContents::Block));
    ok("create", backend.create_volume(new).await)
}

async fn delete(backend: &dyn Backend, id: &VolumeId) {
    ok("delete", backend.delete_volume(id).await);
    ok("delete again", backend.delete_volume(id).await);
}

async fn all(backend: &dyn Backend) -> Vec<Volume> {
    let page = Page {
        after: None,
        limit: 1000,
    };
    ok("list", backend.volumes(page).await)
}

async fn attach(backend: &dyn Backend, id: &VolumeId, mode: AttachMode) -> crate::volume::Device {
    ok("attach", backend.attach(id, mode).await).device
}

async fn volumes_exist_once(backend: &dyn Backend) {
    let volume = create(backend, "once").await;
    assert_eq!(volume.size, SIZE, "sizes are exact");
    let found = ok("look up", backend.volume(&volume.id).await);
    assert_eq!(found, volume, "what is created is found");
    let again = new_volume("once", Origin::New(NewContents::Block));
    match backend.create_volume(again).await {
        Err(BackendError::VolumeExists(existing)) => assert_eq!(*existing, volume),
        other => panic!("the second of its name meets the first, not {other:?}"),
    }
    let grown = ok(
        "grow",
        backend.grow_volume(&volume.id, Bytes(SIZE.0 * 2)).await,
    );
    assert_eq!(grown.size, Bytes(SIZE.0 * 2), "a volume grows");
    let same = ok("grow", backend.grow_volume(&volume.id, SIZE).await);
    assert_eq!(same.size, grown.size, "a volume never shrinks");
    let settings = Settings {
        read_ahead_kib: Some(256),
        ..Settings::default()
    };
    let modified = ok(
        "modify",
        backend.modify_volume(&volume.id, settings.clone()).await,
    );
    assert_eq!(modified.settings, settings, "settings change");
    delete(backend, &volume.id).await;
    let gone = backend.volume(&volume.id).await.err();
    assert!(
        matches!(gone, Some(BackendError::NotFound(_))),
        "what is deleted is gone"
    );
}

async fn snapshots_outlive_their_volume(backend: &dyn Backend) {
    let volume = create(backend, "source").await;
    let new = new_snapshot("snapshot", &volume.id);
    let snapshot = ok("snapshot", backend.create_snapshot(new.clone()).await);
    assert_eq!((snapshot.size, &snapshot.source), (SIZE, &volume.id));
    match backend.create_snapshot(new).await {
        Err(BackendError::SnapshotExists(existing)) => assert_eq!(*existing, snapshot),
        other => panic!("the second of its name meets the first, not {other:?}"),
    }
    delete(backend, &volume.id).await;
    let found = ok("look up", backend.snapshot(&snapshot.id).await);
    assert_eq!(found, snapshot, "it stays without its volume");
    let orphan = backend
        .create_snapshot(new_snapshot("other", &volume.id))
        .await;
    assert!(
        matches!(orphan, Err(BackendError::NotFound(_))),
        "{orphan:?}"
    );
    ok("delete", backend.delete_snapshot(&snapshot.id).await);
    ok("delete again", backend.delete_snapshot(&snapshot.id).await);
}

async fn copies_hold_what_their_source_holds(backend: &dyn Backend) {
    let volume = create(backend, "original").await;
    let snapshot = new_snapshot("copied", &volume.id);
    let snapshot = ok("snapshot", backend.create_snapshot(snapshot).await);
    let sources = [
        Source::Volume(volume.id.clone()),
        Source::Snapshot(snapshot.id.clone()),
    ];
    for source in sources {
        let mut new = new_volume("copy", Origin::Copy(source.clone()));
        new.size = Bytes(SIZE.0 * 2);
        let copy = ok("copy", backend.create_volume(new).await);
        assert_eq!(copy.contents, volume.contents, "a copy holds the same");
        assert_eq!((copy.size, copy.source), (Bytes(SIZE.0 * 2), Some(source)));
        delete(backend, &copy.id).await;
    }
    delete(backend, &volume.id).await;
    ok("delete", backend.delete_snapshot(&snapshot.id).await);
    let lost = new_volume("lost", Origin::Copy(Source::Snapshot(snapshot.id)));
    let lost = backend.create_volume(lost).await;
    assert!(matches!(lost, Err(BackendError::NotFound(_))), "{lost:?}");
}

async fn groups_are_all_or_nothing(backend: &dyn Backend) {
    let (one, two) = (create(backend, "one").await, create(backend, "two").await);
    let mut sources = vec![one.id.clone(), two.id.clone()];
    sources.sort();
    let group_name = name("group");
    let new = NewGroupSnapshot {
        id: GroupSnapshotId::for_name(&group_name),
        name: group_name,
        sources: sources.clone(),
    };
    let mut torn = new.clone();
    torn.sources.push(VolumeId::for_name(&name("missing")));
    let refused = backend.create_group(torn).await.err();
    assert!(
        matches!(refused, Some(BackendError::NotFound(_))),
        "{refused:?}"
    );
    assert!(
        snapshots(backend).await.is_empty(),
        "nothing is left of a failed group"
    );
    let group = ok("group", backend.create_group(new.clone()).await);
    assert!(group.snapshots.iter().map(|it| &it.source).eq(&sources));
    let again = backend.create_group(new).await.err();
    assert!(
        matches!(again, Some(BackendError::GroupExists(_))),
        "{again:?}"
    );
    let found = ok("look up", backend.group(&group.id).await);
    assert_eq!(found, group, "what is cut is found");
    let member = backend.delete_snapshot(&group.snapshots[0].id).await;
    assert!(
        matches!(member, Err(BackendError::Unsupported(_))),
        "members stay together"
    );
    ok("delete", backend.delete_group(&group.id).await);
    ok("delete again", backend.delete_group(&group.id).await);
    assert!(
        snapshots(backend).await.is_empty(),
        "the members go with the group"
    );
    delete(backend, &one.id).await;
    delete(backend, &two.id).await;
}

async fn snapshots(backend: &dyn Backend) -> Vec<crate::volume::Snapshot> {
    let page = Page {
        after: None,
        limit: 1000,
    };
    ok("list", backend.snapshots(None, page).await)
}

async fn publications_are_counted(backend: &dyn Backend) {
    let node = Node {
        id: match NodeId::parse("conformance") {
            Ok(id) => id,
            Err(error) => panic!("{error}"),
        },
        max_volumes: Some(1),
    };
    let unknown = backend.node(&node.id).await.err();
    assert!(
        matches!(unknown, Some(BackendError::NotFound(_))),
        "{unknown:?}"
    );
    ok("register", backend.register_node(node.clone()).await);
    assert_eq!(ok("look up", backend.node(&node.id).await), node);
    let publication = Publication {
        node: node.id.clone(),
        access_mode: AccessMode::SingleNodeWriter,
        block: true,
        read_only: false,
    };
    let (one, two) = (create(backend, "one").await, create(backend, "two").await);
    for _ in 0..2 {
        let published = backend.publish_volume(&one.id, publication.clone(), Some(1));
        ok("publish", published.await);
    }
    let found = ok("look up", backend.volume(&one.id).await);
    assert_eq!(found.publications, std::slice::from_ref(&publication));
    let full = backend.publish_volume(&two.id, publication.clone(), Some(1));
    let full = full.await.err();
    assert!(
        matches!(full, Some(BackendError::NodeFull { limit: 1, .. })),
        "{full:?}"
    );
    ok(
        "unpublish",
        backend.unpublish_volume(&one.id, Some(&node.id)).await,
    );
    ok(
        "unpublish again",
        backend.unpublish_volume(&one.id, None).await,
    );
    ok(
        "publish",
        backend.publish_volume(&two.id, publication, Some(1)).await,
    );
    ok(
        "unpublish all",
        backend.unpublish_volume(&two.id, None).await,
    );
    delete(backend, &one.id).await;
    delete(backend, &two.id).await;
}

async fn pages_go_on_where_they_ended(backend: &dyn Backend) {
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(create(backend, &format!("page-{number}")).await.id);
    }
    ids.sort();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let volumes = ok("list", backend.volumes(Page { after, limit: 2 }).await);
        let Some(last) = volumes.last() else { break };
        after = Some(last.id.clone());
        seen.extend(volumes.into_iter().map(|it| it.id));
    }
    assert_eq!(seen, ids, "each volume once, in order");
    for id in &ids {
        delete(backend, id).await;
    }
}

async fn what_does_not_fit_is_refused(backend: &dyn Backend) {
    let capacity = ok("capacity", backend.capacity(Provisioning::Thin).await);
    let mut new = new_volume("giant", Origin::New(NewContents::Block));
    new.size = Bytes(capacity.maximum_volume_size.0.saturating_mul(2)).round_up(4096);
    let refused = backend.create_volume(new).await.err();
    assert!(
        matches!(refused, Some(BackendError::NoSpace { .. })),
        "{refused:?}"
    );
}

/// A rule about an error.
#[track_caller]
fn not_found<T>(what: &str, result: super::Result<T>) {
    match result {
        Err(BackendError::NotFound(_)) => {}
        Err(error) => panic!("{what} of what is missing: {error:?}"),
        Ok(_) => panic!("{what} of what is missing succeeded"),
    }
}

async fn what_is_missing_is_not_found(backend: &dyn Backend) {
    let id = VolumeId::for_name(&name("missing"));
    let mode = AttachMode {
        read_only: false,
        lifetime: Lifetime::UntilDetached,
    };
    not_found("grow", backend.grow_volume(&id, SIZE).await);
    not_found(
        "modify",
        backend.modify_volume(&id, Settings::default()).await,
    );
    not_found("unpublish", backend.unpublish_volume(&id, None).await);
    not_found(
        "attach",
        backend.attach(&id, mode).await.map(|it| it.device),
    );
    not_found("refresh", backend.refresh(&id).await);
    not_found("health", backend.volume_health(&id).await);
    let copy = new_volume("copy", Origin::Copy(Source::Volume(id.clone())));
    not_found("copy", backend.create_volume(copy).await);
    let group = GroupSnapshotId::for_name(&name("missing"));
    not_found("group", backend.group(&group).await);
    let device = ok("attached", backend.attached(&id).await);
    assert_eq!(device, None, "what is missing is not attached");
    ok("detach", backend.detach(&id).await);
}
