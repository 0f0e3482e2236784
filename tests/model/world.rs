//! The driver under test, its services and its parts: calls go to the services, the eyes look at the parts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use offshoot::backend::memory::{MemoryBackend, MemoryConfig};
use offshoot::backend::{Backend, BackendError, Page};
use offshoot::controller::{Controller, Reach};
use offshoot::csi;
use offshoot::csi::controller_server::Controller as _;
use offshoot::csi::group_controller_server::GroupController as _;
use offshoot::csi::node_server::Node as _;
use offshoot::health::{Health, Registration, StorageReport};
use offshoot::host::fake::FakeHost;
use offshoot::host::{Host, Mount, Spot};
use offshoot::in_flight::InFlight;
use offshoot::metrics::Measure;
use offshoot::node::NodePlugin;
use offshoot::rpc::{
    ControllerService, Endpoint, GroupControllerService, IdentityService, Listener, NodeInfo,
    NodeService, PluginInfo, Services,
};
use offshoot::volume::{
    Bytes, Contents, FsType, Node, NodeId, Source, TargetPath, Topology, VolumeId,
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::call::{Call, GROUPS, NODES, Object, SNAPSHOTS, TARGETS, VOLUMES};
use crate::machine::Machine;
use crate::message::{self, Answer, Envelope, group_id, node_name, snapshot_id, volume_id};
use crate::reference::{Model, Origin, Snapshot, Volume};
use crate::slow::Slow;
use crate::wild::{self, Variant};

/// How many callers there are at most at once.
pub(crate) const CALLERS: usize = 4;

struct Parts {
    controller: Arc<Controller>,
    controller_service: ControllerService,
    groups: GroupControllerService,
    node: NodeService,
    in_flight: InFlight,
}

/// What the driver keeps its things in; gone when the test ends.
pub(crate) enum Ground {
    Pretended(#[expect(dead_code, reason = "dropping it removes the directory")] TempDir),
    Real(Box<Machine>),
}

pub(crate) struct World {
    variant: Variant,
    backend: Arc<dyn Backend>,
    host: Arc<dyn Host>,
    pub(crate) plugin: Arc<NodePlugin>,
    parts: Vec<Parts>,
    pub(crate) envelope: Envelope,
    kubelet: PathBuf,
    /// Last: it takes everything away.
    ground: Ground,
}

impl World {
    /// Memory and a pretended host.
    pub(crate) async fn pretended(variant: Variant, seed: u64) -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let kubelet = dir.path().join("kubelet");
        std::fs::create_dir(&kubelet).expect("a directory");
        let backend = Arc::new(MemoryBackend::new(MemoryConfig {
            topology: vec![Topology::default()],
            pool: Bytes(1 << 40),
            multi_node: true,
        }));
        let slow = Arc::new(Slow::new(backend.clone(), seed));
        let host = Arc::new(FakeHost::new());
        Self::new(
            variant,
            (backend, slow),
            host,
            kubelet,
            Ground::Pretended(dir),
        )
        .await
    }

    /// A data directory, loop devices and mounts of this machine.
    pub(crate) async fn real(machine: Machine) -> Arc<Self> {
        let kubelet = PathBuf::from(machine.path("kubelet"));
        let (backend, host) = (machine.backend(), machine.host());
        let ground = Ground::Real(Box::new(machine));
        Self::new(
            Variant::Ours,
            (backend.clone(), backend),
            host,
            kubelet,
            ground,
        )
        .await
    }

    async fn new(
        variant: Variant,
        (backend, used): (Arc<dyn Backend>, Arc<dyn Backend>),
        host: Arc<dyn Host>,
        kubelet: PathBuf,
        ground: Ground,
    ) -> Arc<Self> {
        for node in 0..NODES {
            let id = NodeId::parse(&node_name(node)).expect("an id");
            let node = Node {
                id,
                max_volumes: None,
            };
            backend.register_node(node).await.expect("it is known");
        }
        let controller = Arc::new(Controller::new(used.clone(), FsType::Ext4, Reach::Cluster));
        let plugin = Arc::new(NodePlugin::new(used, host.clone()));
        let parts = || {
            let in_flight = InFlight::default();
            let info = NodeInfo {
                id: NodeId::parse(&node_name(0)).expect("an id"),
                max_volumes: None,
                topology: Topology::default(),
            };
            Parts {
                controller_service: ControllerService::new(controller.clone(), in_flight.clone()),
                groups: GroupControllerService::new(controller.clone(), in_flight.clone()),
                node: NodeService::new(plugin.clone(), in_flight.clone(), info, &kubelet),
                controller: controller.clone(),
                in_flight,
            }
        };
        // A driver without claims: each caller's claims are unknown to the others.
        let count = if variant == Variant::NoClaims {
            CALLERS
        } else {
            1
        };
        Arc::new(Self {
            variant,
            parts: (0..count).map(|_| parts()).collect(),
            backend,
            host,
            plugin,
            envelope: Envelope {
                kubelet: kubelet.display().to_string(),
                deadline: None,
            },
            kubelet,
            ground,
        })
    }

    pub(crate) fn is_real(&self) -> bool {
        matches!(self.ground, Ground::Real(_))
    }

    /// Whether this machine can do what is asked: ext4 grows while it is mounted only with `CAP_SYS_RESOURCE`.
    pub(crate) fn can_do(&self, call: &Call, model: &Model) -> bool {
        let Call::NodeExpand { volume } = call else {
            return true;
        };
        let is_block = model.volumes.get(volume).is_none_or(|it| it.block);
        is_block || !self.is_real() || has_sys_resource()
    }

    /// Calls the services as tonic does: a future that is dropped when the caller goes away.
    pub(crate) async fn send(&self, call: &Call, caller: usize, model: &Model) -> Answer {
        let Parts {
            controller_service,
            groups,
            node,
            in_flight,
            ..
        } = &self.parts[caller % self.parts.len()];
        match self.variant {
            Variant::StopsWithCaller => {
                if let Some(answer) = wild::inline(self, in_flight, call).await {
                    return answer;
                }
            }
            Variant::Forgetful => {
                let call = wild::forget(call, model);
                return message::send!(&call, &self.envelope, controller_service, groups, node);
            }
            Variant::Ours | Variant::NoClaims => {}
        }
        message::send!(call, &self.envelope, controller_service, groups, node)
    }

    /// Answers at a socket until the task is ended.
    pub(crate) async fn listen(&self) -> (PathBuf, tokio::task::JoinHandle<()>) {
        let Parts {
            controller,
            in_flight,
            ..
        } = &self.parts[0];
        let socket = self.kubelet.with_file_name("csi.sock");
        let endpoint = Endpoint::parse(&format!("unix://{}", socket.display()));
        let listener = Listener::bind(&endpoint.expect("an endpoint")).await;
        let info = PluginInfo {
            name: "offshoot.dev".to_owned(),
            version: "0",
        };
        let node = NodeInfo {
            id: NodeId::parse(&node_name(0)).expect("an id"),
            max_volumes: None,
            topology: Topology::default(),
        };
        let health = Health {
            storage: watch::channel(StorageReport::default()).1,
            registration: watch::channel(Registration::Off).1,
        };
        let services = Services {
            identity: IdentityService::new(info, health),
            controller: Some((
                ControllerService::new(controller.clone(), in_flight.clone()),
                GroupControllerService::new(controller.clone(), in_flight.clone()),
            )),
            node: Some(NodeService::new(
                self.plugin.clone(),
                in_flight.clone(),
                node,
                &self.kubelet,
            )),
        };
        let listener = listener.expect("it listens");
        let serve = services.serve(listener, Measure::new(None, false), std::future::pending());
        let server = tokio::spawn(async { serve.await.expect("it serves") });
        (socket, server)
    }

    /// Waits until no claim is held; an error when one stays.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        let is_idle = || self.parts.iter().all(|it| it.in_flight.is_empty());
        for _ in 0..50 {
            if is_idle() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        for _ in 0..30_000 {
            if is_idle() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err("a claim is still held 30 s after its caller went away".to_owned())
    }

    pub(crate) fn path(&self, path: &str) -> TargetPath {
        TargetPath::parse(&self.kubelet, path).expect("a path below the kubelet")
    }

    /// What is there of these objects; an error when something is half done.
    pub(crate) async fn observe(&self, objects: &BTreeSet<Object>) -> Result<Model, String> {
        let mut seen = Model::default();
        for object in objects {
            match object {
                Object::Volume(it) => {
                    let found = self.volume(*it).await?;
                    seen.volumes.extend(found.map(|found| (*it, found)));
                }
                Object::Snapshot(it) => match self.backend.snapshot(&snapshot_id(*it)).await {
                    Ok(found) => {
                        let found = Snapshot {
                            source: number_of(&found.source),
                            size: found.size.0,
                            block: found.contents == Contents::Block,
                        };
                        seen.snapshots.insert(*it, found);
                    }
                    Err(BackendError::NotFound(_)) => {}
                    Err(error) => return Err(format!("snapshot {it}: {error}")),
                },
                Object::Group(it) => match self.backend.group(&group_id(*it)).await {
                    Ok(found) => {
                        let sources = found.snapshots.iter().map(|it| number_of(&it.source));
                        seen.groups.insert(*it, sources.collect());
                    }
                    Err(BackendError::NotFound(_)) => {}
                    Err(error) => return Err(format!("group {it}: {error}")),
                },
            }
        }
        Ok(seen)
    }

    async fn volume(&self, number: u8) -> Result<Option<Volume>, String> {
        let id = volume_id(number);
        let failed = |error: &dyn std::error::Error| format!("volume {number}: {error}");
        let device = self.backend.attached(&id).await.map_err(|it| failed(&it))?;
        let staging = self.look(&self.envelope.staging(number)).await?;
        let mut targets = std::collections::BTreeMap::new();
        for target in 0..TARGETS {
            let mount = self.look(&self.envelope.target(number, target)).await?;
            targets.extend(mount.map(|it| (target, it.read_only)));
        }
        let noted = self
            .host
            .targets(&id)
            .await
            .map_err(|it| failed(&it))?
            .len();
        if noted != targets.len() + usize::from(staging.is_some()) {
            return Err(format!(
                "volume {number}: {noted} places are noted, it is at {staging:?} and {targets:?}"
            ));
        }
        let found = match self.backend.volume(&id).await {
            Ok(found) => found,
            Err(BackendError::NotFound(_)) if device.is_none() && noted == 0 => return Ok(None),
            Err(error) => return Err(format!("{}; {device:?}, {noted} places", failed(&error))),
        };
        let block = found.contents == Contents::Block;
        if !block && device.is_some() != staging.is_some() {
            return Err(format!(
                "volume {number} has {device:?}, and is staged as {staging:?}"
            ));
        }
        let publications = found.publications.iter().map(|it| {
            let node = (0..NODES).find(|node| node_name(*node) == it.node.as_str());
            (node.expect("a known node"), it.read_only)
        });
        Ok(Some(Volume {
            size: found.size.0,
            block,
            source: found.source.as_ref().map(origin_of),
            read_ahead: found.settings.read_ahead_kib,
            published: publications.collect(),
            staged: device.is_some(),
            targets,
            asked: None,
        }))
    }

    async fn look(&self, path: &str) -> Result<Option<Mount>, String> {
        match self.host.look(&self.path(path)).await {
            Ok(Spot::Mount(mount)) => Ok(Some(mount)),
            Ok(Spot::Absent | Spot::Directory) => Ok(None),
            other => Err(format!("{path}: {other:?}")),
        }
    }

    /// Everything that there can be.
    pub(crate) fn everything() -> BTreeSet<Object> {
        let volumes = (0..VOLUMES).map(Object::Volume);
        let snapshots = (0..SNAPSHOTS).map(Object::Snapshot);
        volumes
            .chain(snapshots)
            .chain((0..GROUPS).map(Object::Group))
            .collect()
    }

    /// How many volumes and snapshots the backend lists, and how many mounts the kernel.
    pub(crate) async fn counts(&self) -> (usize, usize, Option<usize>) {
        let all = |after| Page { after, limit: 1000 };
        let volumes = self.backend.volumes(all(None)).await.expect("a list");
        let page = Page {
            after: None,
            limit: 1000,
        };
        let snapshots = self.backend.snapshots(None, page).await.expect("a list");
        let mounts = self.is_real().then(|| {
            let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
            let ours = format!(" {}/", self.envelope.kubelet);
            table.lines().filter(|line| line.contains(&ours)).count()
        });
        (volumes.len(), snapshots.len(), mounts)
    }

    /// What is left of a driver whose volumes are all deleted; it should be nothing.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let list = |path: PathBuf| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|it| it.path().display().to_string())
        };
        let mut left: Vec<String> = list(self.kubelet.clone())
            .filter(|it| !it.contains("/staging-"))
            .collect();
        if let Ground::Real(machine) = &self.ground {
            for name in [
                "offshoot/volumes",
                "offshoot/snapshots",
                "offshoot/groups",
                "state",
            ] {
                left.extend(list(PathBuf::from(machine.path(&format!("data/{name}")))));
            }
            left.extend(machine.loops());
        }
        left
    }
}

fn has_sys_resource() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|it| it.strip_prefix("CapEff:"));
    let bits = u64::from_str_radix(line.unwrap_or_default().trim(), 16);
    bits.is_ok_and(|it| it >> CAP_SYS_RESOURCE & 1 == 1)
}

fn number_of(id: &VolumeId) -> u8 {
    let number = (0..VOLUMES).find(|it| volume_id(*it) == *id);
    number.expect("a volume of the model")
}

fn origin_of(source: &Source) -> Origin {
    match source {
        Source::Volume(id) => Origin::Volume(number_of(id)),
        Source::Snapshot(id) => {
            let number = (0..SNAPSHOTS).find(|it| snapshot_id(*it) == *id);
            Origin::Snapshot(number.expect("a snapshot of the model"))
        }
    }
}
