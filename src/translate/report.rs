//! What people and programs are told about the objects.

use std::io::Write;

use clap::ValueEnum;
use serde_json::json;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// A line for people.
    Text,
    /// A JSON object in a line.
    Json,
}

pub(super) struct Report<W> {
    format: ReportFormat,
    writer: W,
    findings: usize,
}

impl<W: Write> Report<W> {
    pub(super) fn new(format: ReportFormat, writer: W) -> Self {
        Self {
            format,
            writer,
            findings: 0,
        }
    }

    /// Something that is lost or changed on the way.
    pub(super) fn warning(&mut self, object: &str, message: &str) {
        self.line("warning", object, message);
    }

    /// Something that makes the command end with another code than 0.
    pub(super) fn error(&mut self, object: &str, message: &str) {
        self.findings += 1;
        self.line("error", object, message);
    }

    pub(super) fn has_findings(&self) -> bool {
        self.findings > 0
    }

    /// Nobody reads any more when it fails; the exit code still tells.
    fn line(&mut self, level: &str, object: &str, message: &str) {
        let _ = match self.format {
            ReportFormat::Text => writeln!(self.writer, "{level}: {object}: {message}"),
            ReportFormat::Json => {
                let line = json!({ "level": level, "object": object, "message": message });
                writeln!(self.writer, "{line}")
            }
        };
    }
}
