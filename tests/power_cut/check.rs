//! What is wrong after a power cut.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use faultlab::{Cut, Image, Loss, Program};
use offshoot::backend::file::FileBackend;
use offshoot::backend::{Backend, Page};
use offshoot::node::NodePlugin;
use offshoot::volume::{AccessMode, SnapshotId, Source, Volume as Found};

use super::machine::calls::{Calls, volume_id};
use super::machine::site::Site;
use super::machine::{Machine, Pod, copy_of, mount_capability};
use super::story::{Change, Event, Kind, Snapshot, State, Volume, bytes, expected};
use super::workload::{group_id, perform, snapshot_id, start};

/// What came out of one image.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    /// ext4 superblocks that were torn within 4096 bytes, which ext4 takes for impossible: a disk with sectors of 512 bytes
    /// can do it to any ext4. Their checksum is mended, and then everything must be there.
    pub(crate) mended: u32,
}

/// Everything that was acknowledged before the cut must be there; what was under way is whole or absent.
pub(crate) async fn check(image: Image, kind: &str, events: &[Event], cut: Cut) -> Verdict {
    let (state, pending) = expected(events, cut.at);
    let Some(site) = Site::over(image, kind) else {
        return Verdict {
            wrong: vec![format!(
                "the {kind} filesystem of the data directory is lost"
            )],
            mended: 0,
        };
    };
    let mut checker = Checker {
        machine: &site.machine,
        after: state.clone(),
        before: state,
        loss: cut.loss,
        verdict: Verdict::default(),
    };
    if let Some(pending) = pending {
        checker.after.apply(pending);
        // The CO repeats the call to the driver that starts after the cut; in some images, because that takes longer.
        if cut.seed.is_multiple_of(8) && !matches!(pending, Change::Write { .. }) {
            checker.repeat(pending).await;
        }
    }
    checker.check(cut.seed).await;
    checker.verdict
}

struct Checker<'a> {
    machine: &'a Machine,
    /// Without the change that was under way, and with it.
    before: State,
    after: State,
    loss: Loss,
    verdict: Verdict,
}

impl Checker<'_> {
    fn wrong(&mut self, what: impl Into<String>) {
        self.verdict.wrong.push(what.into());
    }

    /// Repeats the call that was cut short; from then on it is acknowledged.
    async fn repeat(&mut self, pending: &Change) {
        let mut driver = start(self.machine);
        if let Some(status) = ends(&mut driver, Path::new(&self.machine.path("csi.sock"))).await {
            return self.wrong(format!("the driver does not start: {status}"));
        }
        let calls = Calls::connect(self.machine).await;
        if let Err(error) = perform(&calls, pending, &self.before).await {
            return self.wrong(format!("{pending:?} does not converge: {error}"));
        }
        self.before = self.after.clone();
        let expected = (volume_ids(&self.after), snapshot_ids(&self.after));
        let listed = calls.list().await;
        if listed != expected {
            self.wrong(format!("listed are {listed:?} instead of {expected:?}"));
        }
        for name in self.after.volumes.keys() {
            if let Err(error) = calls.take_back(name).await {
                self.verdict
                    .wrong
                    .push(format!("{name} cannot be taken back: {error}"));
            }
        }
        for state in [&mut self.before, &mut self.after] {
            state
                .volumes
                .values_mut()
                .for_each(|it| it.published = false);
        }
    }

    async fn check(&mut self, seed: u64) {
        let backend = match FileBackend::open(self.machine.config()) {
            Ok(backend) => Arc::new(backend),
            Err(error) => return self.wrong(format!("the data directory does not open: {error}")),
        };
        let node = self.machine.node(backend.clone());
        for (id, health) in backend.unhealthy_volumes().await.expect("a list") {
            self.wrong(format!("{id}: {health:?}"));
        }
        self.check_lists(&backend).await;
        self.check_volumes(&backend, &node).await;
        self.check_snapshots(&backend, &node, seed).await;
        self.check_groups(&backend).await;
        self.check_deletion(&backend).await;
    }

    /// Nothing is there that nobody asked for.
    async fn check_lists(&mut self, backend: &FileBackend) {
        let page = Page {
            after: None,
            limit: 1000,
        };
        let volumes = backend.volumes(page).await.expect("a list");
        let volumes: Vec<String> = volumes.iter().map(|it| it.id.to_string()).collect();
        if volumes != volume_ids(&self.before) && volumes != volume_ids(&self.after) {
            self.wrong(format!("there are volumes {volumes:?}"));
        }
        let page = Page {
            after: None,
            limit: 1000,
        };
        let snapshots = backend.snapshots(None, page).await.expect("a list");
        let snapshots: Vec<String> = snapshots.iter().map(|it| it.id.to_string()).collect();
        if snapshots != snapshot_ids(&self.before) && snapshots != snapshot_ids(&self.after) {
            self.wrong(format!("there are snapshots {snapshots:?}"));
        }
        for directory in ["volumes", "snapshots", "groups"] {
            let path = self.machine.path(&format!("data/offshoot/{directory}"));
            for entry in fs::read_dir(path).expect("it is there").flatten() {
                let name = entry.file_name().display().to_string();
                if name.len() != 35 {
                    self.wrong(format!("{directory} has {name}"));
                }
            }
        }
    }

    async fn check_volumes(&mut self, backend: &Arc<FileBackend>, node: &NodePlugin) {
        for (name, either) in both(&self.before.volumes, &self.after.volumes) {
            let found = match backend.volume(&volume_id(&name)).await {
                Ok(found) => found,
                Err(error) if either.len() == 2 => {
                    self.wrong(format!("volume {name}: {error}"));
                    continue;
                }
                Err(_) => continue,
            };
            if !either.iter().any(|it| agrees(it, &found)) {
                self.wrong(format!("volume {name} is {found:?} instead of {either:?}"));
            }
            let path = self.machine.volume_file(&found.id);
            // What is certain is what both states have.
            let tokens = common_tokens(&either, |it| &it.tokens);
            self.check_bytes(node, &found, &path, &tokens, &format!("volume {name}"))
                .await;
        }
    }

    async fn check_snapshots(&mut self, backend: &Arc<FileBackend>, node: &NodePlugin, seed: u64) {
        let mut all: Vec<(String, SnapshotId, Vec<Snapshot>)> = Vec::new();
        for (name, either) in both(&self.before.snapshots, &self.after.snapshots) {
            let id = snapshot_id(&name);
            all.push((name, id, either));
        }
        for (name, either) in both(&self.before.groups, &self.after.groups) {
            for (volume, snapshot) in &either[0] {
                let id = SnapshotId::of_member(&group_id(&name), &volume_id(volume));
                all.push((
                    format!("{name}/{volume}"),
                    id,
                    vec![snapshot.clone(); either.len()],
                ));
            }
        }
        for (index, (name, id, either)) in all.into_iter().enumerate() {
            let found = match backend.snapshot(&id).await {
                Ok(found) => found,
                Err(error) if either.len() == 2 => {
                    self.wrong(format!("snapshot {name}: {error}"));
                    continue;
                }
                Err(_) => continue,
            };
            if found.size.0 != either[0].size || found.source != volume_id(&either[0].of) {
                self.wrong(format!(
                    "snapshot {name} is {found:?} instead of {either:?}"
                ));
            }
            let path = self.machine.path(&format!("data/offshoot/snapshots/{id}"));
            if either[0].kind == Kind::Block {
                self.check_device(
                    Path::new(&path),
                    found.size.0,
                    &either[0].tokens,
                    &format!("snapshot {name}"),
                );
            } else if (seed / 8 + index as u64).is_multiple_of(3) {
                let copy = copy_of(
                    Source::Snapshot(id),
                    &format!("copy-{index}"),
                    found.size.0 >> 20,
                );
                match backend.create_volume(copy).await {
                    Ok(copy) => {
                        let path = self.machine.volume_file(&copy.id);
                        let what = format!("snapshot {name}");
                        self.check_bytes(node, &copy, &path, &either[0].tokens, &what)
                            .await;
                    }
                    Err(error) => {
                        self.wrong(format!("snapshot {name} cannot be restored: {error}"));
                    }
                }
            }
        }
    }

    async fn check_groups(&mut self, backend: &FileBackend) {
        for (name, either) in both(&self.before.groups, &self.after.groups) {
            match backend.group(&group_id(&name)).await {
                Ok(group) if group.snapshots.len() == either[0].len() => {}
                Ok(group) => self.wrong(format!(
                    "group {name} has {} members",
                    group.snapshots.len()
                )),
                Err(error) if either.len() == 2 => self.wrong(format!("group {name}: {error}")),
                Err(_) => {}
            }
        }
    }

    /// Everything can be deleted, the sources before their copies.
    async fn check_deletion(&mut self, backend: &FileBackend) {
        for name in self.after.volumes.keys() {
            if let Err(error) = backend.delete_volume(&volume_id(name)).await {
                self.verdict
                    .wrong
                    .push(format!("volume {name} cannot be deleted: {error}"));
            }
        }
        for name in self.after.groups.keys() {
            if let Err(error) = backend.delete_group(&group_id(name)).await {
                self.verdict
                    .wrong
                    .push(format!("group {name} cannot be deleted: {error}"));
            }
        }
    }

    async fn check_bytes(
        &mut self,
        node: &NodePlugin,
        volume: &Found,
        path: &Path,
        tokens: &[u64],
        what: &str,
    ) {
        if volume.contents == offshoot::volume::Contents::Block {
            return self.check_device(path, volume.size.0, tokens, what);
        }
        let pod = Pod {
            machine: self.machine,
            node,
            volume,
            capability: mount_capability(AccessMode::SingleNodeWriter),
        };
        let mut staged = pod.stage().await;
        if staged.is_err() && self.loss == Loss::Sectors && self.mend(path) {
            staged = pod.stage().await;
        }
        if let Err(error) = staged {
            let why = offshoot::error_chain(&error);
            return self.wrong(format!("{what} cannot be staged: {why}"));
        }
        for token in tokens {
            let path = self.machine.path(&format!("kubelet/staging/t{token}"));
            match fs::read(&path) {
                Ok(found) if found == bytes(*token) => {}
                Ok(found) => {
                    self.wrong(format!("{what}: t{token} is torn ({} bytes)", found.len()));
                }
                Err(error) => self.wrong(format!("{what}: t{token} is lost: {error}")),
            }
        }
        if let Err(error) = pod.unstage().await {
            self.wrong(format!("{what} cannot be unstaged: {error}"));
        }
    }

    /// Mends a superblock that was torn between two sectors: either half is right, only the checksum over both is not.
    fn mend(&mut self, path: &Path) -> bool {
        const FIRST: u64 = 1024;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("it opens");
        let mut block = [0; 1024];
        file.read_exact_at(&mut block, FIRST).expect("it is read");
        let checksum = (!crc32c::crc32c(&block[..1020])).to_le_bytes();
        let torn = block[1020..] != checksum;
        if torn {
            file.write_all_at(&checksum, FIRST + 1020)
                .expect("it is written");
            self.verdict.mended += 1;
        }
        torn
    }

    fn check_device(&mut self, path: &Path, size: u64, tokens: &[u64], what: &str) {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return self.wrong(format!("{what}: {error}")),
        };
        if file.metadata().map_or(0, |it| it.len()) < size {
            self.wrong(format!("{what} has a file that is too short"));
        }
        for token in tokens {
            let mut found = vec![0; 4096];
            let read = file.read_exact_at(&mut found, token * 4096);
            if read.is_err() || found != bytes(*token) {
                self.wrong(format!("{what}: token {token} is lost"));
            }
        }
    }
}

/// How the driver ended, if it does before it listens.
async fn ends(driver: &mut Program, socket: &Path) -> Option<ExitStatus> {
    loop {
        if let Some(status) = driver.process.try_wait().expect("it is our child") {
            return Some(status);
        }
        if UnixStream::connect(socket).is_ok() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each name with what it is before and after; one element means that it may be absent.
fn both<T: Clone>(
    before: &std::collections::BTreeMap<String, T>,
    after: &std::collections::BTreeMap<String, T>,
) -> Vec<(String, Vec<T>)> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let states = |name: &String| {
        [before, after]
            .iter()
            .filter_map(|it| it.get(name).cloned())
            .collect()
    };
    names
        .into_iter()
        .map(|name| (name.clone(), states(name)))
        .collect()
}

fn common_tokens<T>(either: &[T], tokens: impl Fn(&T) -> &Vec<u64>) -> Vec<u64> {
    let first = tokens(&either[0]).clone();
    let in_all = |token: &u64| either.iter().all(|it| tokens(it).contains(token));
    first.into_iter().filter(in_all).collect()
}

fn agrees(expected: &Volume, found: &Found) -> bool {
    let thick = found.settings.provisioning == offshoot::volume::Provisioning::Thick;
    found.size.0 == expected.size
        && thick == expected.thick
        && found.settings.read_ahead_kib == expected.kib
        && (found.publications.len() == 1) == expected.published
}

fn volume_ids(state: &State) -> Vec<String> {
    let mut ids: Vec<String> = state
        .volumes
        .keys()
        .map(|it| volume_id(it).to_string())
        .collect();
    ids.sort();
    ids
}

fn snapshot_ids(state: &State) -> Vec<String> {
    let mut ids: Vec<String> = state
        .snapshots
        .keys()
        .map(|it| snapshot_id(it).to_string())
        .collect();
    for (group, members) in &state.groups {
        let members = members
            .keys()
            .map(|it| SnapshotId::of_member(&group_id(group), &volume_id(it)));
        ids.extend(members.map(|it| it.to_string()));
    }
    ids.sort();
    ids
}
