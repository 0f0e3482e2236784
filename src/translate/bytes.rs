//! The commands over bytes in memory: for the fuzz targets.

use std::io;
use std::path::Path;

use clap::ValueEnum;
use csi_translation::{KubernetesVersion, newest};

use super::input;
use super::output::{Format, Output};
use super::report::{Report, ReportFormat};
use super::{Direction, Drifting, Translation};

/// Translates both ways, into every format.
pub(crate) fn translate(text: &[u8]) {
    for direction in Direction::value_variants() {
        for format in Format::value_variants() {
            let mut report = Report::new(ReportFormat::Json, io::sink());
            let mut translation = Translation {
                translator: newest(),
                direction: *direction,
                output: Output::new(*format, io::sink()),
                report: &mut report,
            };
            // What cannot be read is an error, and that is all it may be.
            let _ = input::read(Path::new("input"), text, &mut translation);
        }
    }
}

/// Compares the oldest version with the newest.
pub(crate) fn drift(text: &[u8]) {
    let version = |text: &str| text.parse::<KubernetesVersion>().expect("a version");
    let mut report = Report::new(ReportFormat::Text, io::sink());
    let mut drifting = Drifting {
        from: version("1.17"),
        to: version("1.36"),
        report: &mut report,
    };
    let _ = input::read(Path::new("input"), text, &mut drifting);
}
