//! What the demonstration shows: a line for each step, with its time. Plain in a log, coloured on a terminal.

use std::future::Future;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use super::DemoError;
use crate::error_chain;

pub(super) struct Report {
    colour: bool,
    step: usize,
}

impl Report {
    pub(super) fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, step: 0 }
    }

    /// Something that is no step.
    pub(super) fn title(&mut self, text: &str) {
        show(&format!("{}\n", self.paint("1", text)));
    }

    /// Does a step, and shows what came of it.
    pub(super) async fn step(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<String, DemoError>>,
    ) -> Result<(), DemoError> {
        self.step += 1;
        let began = Instant::now();
        let result = work.await;
        let time = format!("{:8.1} ms", began.elapsed().as_secs_f64() * 1000.0);
        let (mark, text) = match &result {
            Ok(detail) => (self.paint("32", "ok"), detail.clone()),
            Err(error) => (self.paint("31", "FAILED"), error_chain(error)),
        };
        let number = self.step;
        show(&format!("{number:3}  {name:<36} {time}  {mark}  {text}\n"));
        result.map(drop)
    }

    /// The end of the driver's log, after something failed.
    pub(super) fn log(&mut self, lines: &str) {
        for line in lines.lines() {
            show(&format!("     {} {line}\n", self.paint("2", "driver:")));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Nobody reads any more when it fails; the work goes on.
fn show(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}
