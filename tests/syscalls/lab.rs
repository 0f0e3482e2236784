//! A machine with the driver on it, the model of what must be there, and bytes that were acknowledged.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::fs::{SeekFrom, seek};

use crate::calls::Call;
use crate::driver::Driver;
use crate::machine::{Machine, tool};
use crate::script::{Contents, Flow, LINEAGE, SNAPSHOTS};
use crate::tracer::Report;
use crate::world::{World, snapshot_id, untrue, volume_id};

/// How long the kernel may take to let go of things, and a tool to finish whose driver was killed.
const SETTLE: Duration = Duration::from_secs(20);
const PAGE: usize = 4096;
/// More than a btrfs keeps in its tree instead of in an extent.
const FILE: usize = 16 * PAGE;

/// Where in every image of the lineage the bytes are that were acknowledged.
struct Mark {
    offset: u64,
    uuid: Vec<u8>,
}

pub(crate) struct Lab {
    pub(crate) driver: Driver,
    pub(crate) world: World,
    pub(crate) contents: Contents,
    mark: Option<Mark>,
    /// The last number that was written to the base volume and synced.
    written: u64,
    tools: Vec<Pid>,
    pub(crate) settle: Duration,
    /// Last: it takes everything away.
    pub(crate) machine: Machine,
}

impl Lab {
    pub(crate) async fn new(data: &str, contents: Contents) -> Self {
        let machine = Machine::on(data);
        for name in LINEAGE {
            let staging = machine.path(&format!("kubelet/{name}-staging"));
            std::fs::create_dir(staging).expect("a directory");
        }
        Self {
            driver: Driver::start(&machine).await,
            world: World::default(),
            contents,
            mark: None,
            written: 0,
            tools: Vec::new(),
            settle: SETTLE,
            machine,
        }
    }

    /// After a kill, or instead of one.
    pub(crate) async fn restart(&mut self) {
        self.driver.kill();
        self.driver = Driver::start(&self.machine).await;
    }

    /// A call without a fault, which must succeed.
    pub(crate) async fn perform(&mut self, call: &Call) -> Result<(), String> {
        self.driver.insist(call).await?;
        self.world = self.world.after(call);
        Ok(())
    }

    pub(crate) async fn perform_all(&mut self, calls: &[Call]) -> Result<(), String> {
        for call in calls {
            self.perform(call).await?;
        }
        Ok(())
    }

    /// Repeats the call until it succeeds, and once more, which must change nothing.
    pub(crate) async fn converge(&mut self, call: &Call) -> Result<(), String> {
        let first = self.driver.insist(call).await?;
        let again = self.driver.insist(call).await?;
        if first != again {
            return Err(format!("{} answers differently when repeated", call.name()));
        }
        self.world = self.world.after(call);
        Ok(())
    }

    /// Back to the world before the flow's preparations.
    pub(crate) async fn undo(&mut self, flow: &Flow, base: &World) -> Result<(), String> {
        self.perform_all(&flow.undo).await?;
        self.world.clone_from(base);
        self.verify().await
    }

    pub(crate) fn note(&mut self, report: &Report) {
        self.tools.extend(&report.tools);
    }

    /// Everything that was acknowledged is there, and nothing else.
    pub(crate) async fn verify(&mut self) -> Result<(), String> {
        if let Some(text) = self.driver.panics() {
            return Err(format!("the driver panicked: {text}"));
        }
        let told = untrue(&self.driver, &self.world, &self.world).await;
        told.map_err(|problem| format!("{problem} ({})", self.driver.fate()))?;
        let began = Instant::now();
        loop {
            let mut found = self.world.differences(&self.machine, &self.driver);
            self.tools.retain(|it| is_alive(*it));
            found.extend(self.tools.iter().map(|it| format!("tool {it} still runs")));
            if found.is_empty() {
                return self.check_bytes();
            }
            if began.elapsed() > self.settle || !is_settling(&found) {
                return Err(found.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes the next number to the base volume, if it is published, and waits until it is safe.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        let Some(path) = self.file(self.world.targets.keys().next()) else {
            return Ok(());
        };
        let failed = |error| format!("write {path}: {error}");
        let file = File::options()
            .write(true)
            .create(!self.contents.is_raw())
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if self.written == 0 {
            file.write_all_at(&page(0).repeat(FILE / PAGE), 0)
                .map_err(failed)?;
        }
        file.write_all_at(&page(self.written + 1), PAGE as u64)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        self.written += 1;
        Ok(())
    }

    fn file(&self, place: Option<&String>) -> Option<String> {
        let place = place?;
        Some(match self.contents {
            Contents::Block => place.clone(),
            _ => format!("{place}/file"),
        })
    }

    /// Finds the acknowledged bytes in the image of the base volume, which is not in use.
    pub(crate) fn locate(&mut self) -> Result<(), String> {
        let path = self
            .machine
            .path(&format!("data/offshoot/volumes/{}", volume_id("base")));
        let image = File::open(&path).map_err(|error| error.to_string())?;
        let mut at = 0;
        let mut bytes = vec![0; PAGE];
        while let Ok(data) = seek(&image, SeekFrom::Data(at)) {
            let end = seek(&image, SeekFrom::Hole(data)).map_err(|error| error.to_string())?;
            at = data;
            while at < end {
                image
                    .read_exact_at(&mut bytes, at)
                    .map_err(|error| error.to_string())?;
                if bytes == page(0) {
                    let uuid = self.uuid(&image)?;
                    self.mark = Some(Mark { offset: at, uuid });
                    return Ok(());
                }
                at += PAGE as u64;
            }
        }
        Err("the acknowledged bytes are not in the image of the base volume".to_owned())
    }

    fn uuid(&self, image: &File) -> Result<Vec<u8>, String> {
        let mut uuid = vec![0; 16];
        if let Some(offset) = self.contents.uuid_offset() {
            image
                .read_exact_at(&mut uuid, offset)
                .map_err(|error| error.to_string())?;
        }
        Ok(uuid)
    }

    fn check_bytes(&self) -> Result<(), String> {
        let staged = self
            .world
            .staged
            .get(&volume_id("base"))
            .and_then(Option::as_ref);
        let places = staged.into_iter().chain(self.world.targets.keys());
        for place in places.filter(|_| self.written > 0) {
            self.check_file(&self.file(Some(place)).expect("a file"))?;
        }
        let Some(mark) = &self.mark else {
            return Ok(());
        };
        let volumes = LINEAGE
            .iter()
            .map(|it| volume_id(it))
            .filter(|it| self.world.volumes.contains_key(it));
        let snapshots = SNAPSHOTS
            .iter()
            .map(|it| snapshot_id(it))
            .filter(|it| self.world.snapshots.contains(it));
        let images = volumes
            .map(|it| format!("volumes/{it}"))
            .chain(snapshots.map(|it| format!("snapshots/{it}")));
        for image in images {
            self.check_image(mark, &image)?;
        }
        Ok(())
    }

    fn check_file(&self, path: &str) -> Result<(), String> {
        let mut bytes = vec![0; 2 * PAGE];
        let file = File::open(path).map_err(|error| format!("open {path}: {error}"))?;
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| format!("read {path}: {error}"))?;
        if bytes != [page(0), page(self.written)].concat() {
            return Err(format!("{path} lost acknowledged bytes"));
        }
        Ok(())
    }

    fn check_image(&self, mark: &Mark, name: &str) -> Result<(), String> {
        let path = self.machine.path(&format!("data/offshoot/{name}"));
        let mut bytes = vec![0; PAGE];
        let image = File::open(&path).map_err(|error| format!("open {name}: {error}"))?;
        image
            .read_exact_at(&mut bytes, mark.offset)
            .map_err(|error| format!("read {name}: {error}"))?;
        if bytes != page(0) {
            return Err(format!("the image {name} lost acknowledged bytes"));
        }
        if self.uuid(&image)? != mark.uuid {
            return Err(format!("the image {name} was formatted"));
        }
        Ok(())
    }

    /// What the filesystem's own checker says of a volume that is not in use.
    pub(crate) fn check_filesystem(&self, name: &str) -> Result<(), String> {
        let image = self
            .machine
            .path(&format!("data/offshoot/volumes/{}", volume_id(name)));
        let good = match self.contents {
            Contents::Block => true,
            Contents::Ext4 => tool("e2fsck", &["-fn", &image]),
            Contents::Xfs => tool("xfs_repair", &["-n", &image]),
            Contents::Btrfs => tool("btrfs", &["check", "--readonly", &image]),
        };
        if good {
            Ok(())
        } else {
            Err(format!("the filesystem of volume {name} is not clean"))
        }
    }
}

/// A page that is like no other.
fn page(number: u64) -> Vec<u8> {
    let line = format!("acknowledged {number:>18}\n");
    line.as_bytes().repeat(PAGE / line.len())
}

/// Devices and processes need a moment; files do not come back.
fn is_settling(found: &[String]) -> bool {
    let slow = ["loop devices", "tool", "children", "files that the driver"];
    let is_slow = |it: &String| slow.iter().any(|prefix| it.starts_with(prefix));
    found.iter().all(is_slow)
}

fn is_alive(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}
