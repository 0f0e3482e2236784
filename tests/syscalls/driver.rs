//! The driver under test: started, asked, killed, and started again.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use faultlab::Running;
use offshoot::csi;
use offshoot::csi::identity_client::IdentityClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::calls::Call;
use crate::common::connect;
use crate::machine::Machine;
use crate::tracer::{Fault, Report, Trace};

/// Longer than the driver waits for anything.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) type Answer = Result<Vec<u8>, Status>;

pub(crate) struct Driver {
    process: Running,
    channel: Channel,
    log: String,
}

impl Driver {
    pub(crate) async fn start(machine: &Machine) -> Self {
        let log = machine.path("driver.log");
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let process = Running::start(machine.driver().stderr(file.expect("a log")));
        let process = process.expect("the driver starts");
        let channel = connect(Path::new(&machine.path("csi.sock"))).await;
        // A socket is there before the driver has done all that it does at its start.
        let probed = IdentityClient::new(channel.clone())
            .probe(csi::ProbeRequest {})
            .await;
        probed.expect("the driver serves");
        Self {
            process,
            channel,
            log,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// How it ended, if it did.
    pub(crate) fn fate(&mut self) -> String {
        match self.process.try_wait() {
            Ok(Some(status)) => format!("the driver ended: {status}"),
            _ => "the driver lives".to_owned(),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.end();
    }

    pub(crate) async fn ask(&self, call: &Call) -> Result<Answer, String> {
        let asked = tokio::time::timeout(PATIENCE, call.send(self.channel.clone()));
        asked.await.map_err(|_| format!("{} hangs", call.name()))
    }

    /// Asks while the tracer watches.
    pub(crate) async fn ask_under(
        &self,
        call: &Call,
        fault: Fault,
    ) -> Result<(Answer, Report), String> {
        let trace = Trace::begin(self.id(), fault);
        let answer = self.ask(call).await;
        let report = trace.end();
        Ok((answer?, report))
    }

    /// Asks until it succeeds, as callers do while they are told that something is still going on.
    pub(crate) async fn insist(&self, call: &Call) -> Result<Vec<u8>, String> {
        let mut last = None;
        for _ in 0..1000 {
            match self.ask(call).await? {
                Ok(answer) => return Ok(answer),
                Err(status) if is_passing(&status) => {
                    last = Some(status);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => return Err(format!("{} fails: {status}", call.name())),
            }
        }
        Err(format!("{} does not converge: {last:?}", call.name()))
    }

    /// What the driver said that it never should.
    pub(crate) fn panics(&self) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let line = log.lines().find(|it| it.contains("panicked"))?;
        let text = log.lines().skip_while(|it| *it != line).take(3);
        let text = text.collect::<Vec<_>>().join(" ");
        let _ = File::create(&self.log);
        Some(text)
    }
}

/// Somebody else holds something for a moment: on a machine that is shared, also without a fault.
pub(crate) fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::Unavailable)
}
