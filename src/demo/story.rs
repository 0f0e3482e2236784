//! The steps, in the order of a volume's life.

use std::future::Future;
use std::path::Path;

use super::data::{self, Written};
use super::driver::Driver;
use super::orchestrator::{Claim, Orchestrator};
use super::report::Report;
use super::{DemoError, Place, may_grow_ext4};
use crate::volume::{Bytes, FsType};

const SIZE: Bytes = Bytes(512 << 20);
const LARGER: Bytes = Bytes(1 << 30);
const BLOCK_SIZE: Bytes = Bytes(64 << 20);

/// Everything that exists at a moment of the story.
pub(super) struct Story {
    driver: Driver,
    fs: FsType,
    volume: Claim,
    clone: Claim,
    block: Claim,
    snapshot: String,
}

impl Story {
    pub(super) fn new(place: &Place, driver: Driver, fs: FsType) -> Self {
        let kubelet = place.kubelet();
        Self {
            driver,
            fs,
            volume: Claim::new("demo-volume", Some(fs), &kubelet),
            clone: Claim::new("demo-clone", Some(fs), &kubelet),
            block: Claim::new("demo-block", None, &kubelet),
            snapshot: String::new(),
        }
    }

    /// The end of the driver's log.
    pub(super) fn log_tail(&self) -> String {
        self.driver.log_tail()
    }

    pub(super) async fn tell(&mut self, report: &mut Report) -> Result<(), DemoError> {
        report
            .step("start the driver", start(&mut self.driver))
            .await?;
        let mut calls = Orchestrator::connect(self.driver.socket()).await?;
        let first = self.live(report, &mut calls).await?;
        let raw = self.live_raw(report, &mut calls).await?;
        self.survive(report, &first, &raw).await
    }

    /// From nothing to a larger volume with a clone beside it.
    async fn live(
        &mut self,
        report: &mut Report,
        calls: &mut Orchestrator,
    ) -> Result<Written, DemoError> {
        let volume = &mut self.volume;
        let create = async {
            volume.id = calls.create(volume, SIZE, None).await?;
            Ok(format!("{SIZE}, {}", volume.id))
        };
        report.step("create a volume", create).await?;
        let volume = &self.volume;
        let publish = done(calls.publish_to_node(volume), "attached to demo-node");
        report.step("publish it to the node", publish).await?;
        let stage = done(calls.stage(volume), "loop device made, filesystem mounted");
        report.step("stage it", stage).await?;
        let mount = done(calls.publish(volume), "bound to the pod's directory");
        report.step("publish it to a pod", mount).await?;
        let file = volume.target.join("file");
        let mut written = None;
        let write = async {
            written = Some(data::write(&file)?);
            Ok(format!("{}, synced", Bytes(data::LENGTH as u64)))
        };
        report.step("write a file", write).await?;
        let cut = async {
            self.snapshot = calls.snapshot(volume, &volume.name).await?;
            Ok(format!("{}, while it is mounted", self.snapshot))
        };
        report.step("take a snapshot", cut).await?;
        let (clone, snapshot) = (&mut self.clone, &self.snapshot);
        let copy = async {
            clone.id = calls.create(clone, SIZE, Some(snapshot)).await?;
            calls.bring(clone).await?;
            Ok(clone.id.clone())
        };
        report.step("clone it from the snapshot", copy).await?;
        let written = written.ok_or_else(|| DemoError::OtherBytes(file.clone()))?;
        let copied = self.clone.target.join("file");
        let read = async {
            data::check(&copied, &written)?;
            Ok("the same bytes".to_owned())
        };
        report
            .step("read the bytes back from the clone", read)
            .await?;
        self.grow(report, calls).await?;
        Ok(written)
    }

    async fn grow(&self, report: &mut Report, calls: &mut Orchestrator) -> Result<(), DemoError> {
        let volume = &self.volume;
        let expand = async {
            if self.fs == FsType::Ext4 && !may_grow_ext4() {
                return Ok("left out: a mounted ext4 grows only with CAP_SYS_RESOURCE".to_owned());
            }
            let before = size_of_filesystem(&volume.target)?;
            calls.expand(volume, LARGER).await?;
            let after = size_of_filesystem(&volume.target)?;
            Ok(format!(
                "filesystem of {} MiB, now {} MiB, mounted all the time",
                before.0 >> 20,
                after.0 >> 20
            ))
        };
        report.step("expand it online", expand).await
    }

    async fn live_raw(
        &mut self,
        report: &mut Report,
        calls: &mut Orchestrator,
    ) -> Result<Written, DemoError> {
        let block = &mut self.block;
        let mut written = None;
        let work = async {
            block.id = calls.create(block, BLOCK_SIZE, None).await?;
            calls.bring(block).await?;
            let bytes = data::write(&block.target)?;
            data::check(&block.target, &bytes)?;
            written = Some(bytes);
            Ok(format!("{BLOCK_SIZE}, written and read as a device"))
        };
        report.step("use a raw block volume", work).await?;
        written.ok_or_else(|| DemoError::OtherBytes(self.block.target.clone()))
    }

    /// Kills the driver, and looks at everything again.
    async fn survive(
        &mut self,
        report: &mut Report,
        file: &Written,
        raw: &Written,
    ) -> Result<(), DemoError> {
        let driver = &mut self.driver;
        let kill = async {
            driver.kill().await?;
            Ok("the pods' mounts stay".to_owned())
        };
        report.step("kill -9 the driver", kill).await?;
        report.step("start it again", start(driver)).await?;
        let claims = [&self.volume, &self.clone, &self.block];
        let look = async {
            let mut calls = Orchestrator::connect(self.driver.socket()).await?;
            for claim in claims {
                calls.bring(claim).await?;
            }
            data::check(&self.volume.target.join("file"), file)?;
            data::check(&self.clone.target.join("file"), file)?;
            data::check(&self.block.target, raw)?;
            Ok("every call repeated, all bytes there".to_owned())
        };
        report.step("look at everything again", look).await
    }

    /// Takes everything back, also after a failure, whatever else fails; `keep` leaves volumes and snapshot.
    pub(super) async fn clean_up(
        &mut self,
        report: &mut Report,
        keep: bool,
    ) -> Result<(), DemoError> {
        if !self.driver.is_running() {
            report
                .step("start it for the cleaning", start(&mut self.driver))
                .await?;
        }
        let cleaned = report.step("clean up", self.take_all_back(keep)).await;
        let driver = &mut self.driver;
        let stop = async {
            driver.stop().await?;
            Ok("SIGTERM, exit code 0".to_owned())
        };
        let stopped = report.step("stop the driver", stop).await;
        cleaned.and(stopped)
    }

    /// Goes on after an error; the first one is reported.
    async fn take_all_back(&self, keep: bool) -> Result<String, DemoError> {
        let mut calls = Orchestrator::connect(self.driver.socket()).await?;
        let mut outcome = Ok(if keep {
            "volumes stay"
        } else {
            "in reverse order"
        }
        .to_owned());
        for claim in [&self.block, &self.clone, &self.volume] {
            if claim.id.is_empty() {
                continue;
            }
            let mut taken = calls.take_back(claim).await;
            if taken.is_ok() && !keep {
                taken = calls.delete_volume(&claim.id).await;
            }
            outcome = outcome.and_then(|text| taken.map(|()| text));
        }
        if !keep && !self.snapshot.is_empty() {
            let deleted = calls.delete_snapshot(&self.snapshot).await;
            outcome = outcome.and_then(|text| deleted.map(|()| text));
        }
        outcome
    }
}

async fn start(driver: &mut Driver) -> Result<String, DemoError> {
    let process = driver.start().await?;
    let who = Orchestrator::connect(driver.socket())
        .await?
        .probe()
        .await?;
    Ok(format!("{who}, process {process}"))
}

async fn done(
    work: impl Future<Output = Result<(), DemoError>>,
    detail: &str,
) -> Result<String, DemoError> {
    work.await.map(|()| detail.to_owned())
}

fn size_of_filesystem(path: &Path) -> Result<Bytes, DemoError> {
    let shown = rustix::fs::statvfs(path).map_err(|error| DemoError::Io {
        action: format!("measure {}", path.display()),
        source: error.into(),
    })?;
    Ok(Bytes(shown.f_blocks * shown.f_frsize))
}
