//! `offshoot translate` and `offshoot drift`: the translation over files and streams of Kubernetes objects.
//!
//! Objects are changed only where the translation changes them: order, foreign documents and fields that our types do not
//! know stay as they are. A `List` in JSON is read item by item, however long it is.

pub(crate) mod bytes;
mod input;
mod loss;
mod object;
mod output;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use csi_translation::{KubernetesVersion, Translator, as_of, newest};
use serde_json::Value;

use self::input::{InputError, Sink};
use self::output::{Format, Output};
use self::report::{Report, ReportFormat};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// From in-tree to CSI.
    Csi,
    /// From CSI to in-tree.
    InTree,
}

/// Arguments of `offshoot translate`.
#[derive(Debug, Clone, Args)]
pub struct TranslateArgs {
    /// Files or folders with YAML or JSON; none or - is standard input
    paths: Vec<PathBuf>,
    /// Which way
    #[arg(long, value_enum, default_value = "csi")]
    to: Direction,
    /// As which version of Kubernetes, such as 1.24 [default: each plugin's newest rules]
    #[arg(long)]
    as_of: Option<KubernetesVersion>,
    /// What to write
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    /// How warnings are written to standard error
    #[arg(long, value_enum, default_value = "text")]
    report: ReportFormat,
}

/// Arguments of `offshoot drift`.
#[derive(Debug, Clone, Args)]
pub struct DriftArgs {
    /// Files or folders with YAML or JSON; none or - is standard input
    paths: Vec<PathBuf>,
    /// The version before the upgrade
    #[arg(long)]
    from: KubernetesVersion,
    /// The version after the upgrade
    #[arg(long)]
    to: KubernetesVersion,
    /// How findings are written to standard output
    #[arg(long, value_enum, default_value = "text")]
    report: ReportFormat,
}

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything could be done; for drift: nothing drifts.
    Clean,
    /// Something could not be translated, or drifts.
    Findings,
    /// The input could not be read.
    Unusable,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Findings => Self::from(1),
            Outcome::Unusable => Self::from(2),
        }
    }
}

/// Translates what is given, and writes it to standard output.
#[must_use]
pub fn translate(args: &TranslateArgs) -> Outcome {
    let mut report = Report::new(args.report, io::stderr());
    let stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut translation = Translation {
        translator: args.as_of.map_or_else(newest, as_of),
        direction: args.to,
        output: Output::new(args.output, stdout),
        report: &mut report,
    };
    let read = input::read_all(&args.paths, &mut translation);
    let flushed = translation.output.finish().map_err(InputError::Write);
    outcome(read.and(flushed), &mut report)
}

/// Compares two versions for each in-tree PersistentVolume, and writes the differences to standard output.
#[must_use]
pub fn drift(args: &DriftArgs) -> Outcome {
    let mut report = Report::new(args.report, io::stdout());
    let mut drifting = Drifting {
        from: args.from,
        to: args.to,
        report: &mut report,
    };
    let read = input::read_all(&args.paths, &mut drifting);
    outcome(read, &mut report)
}

fn outcome<W: Write>(read: Result<(), InputError>, report: &mut Report<W>) -> Outcome {
    match read {
        // Who reads has seen enough, as `head` does.
        Err(InputError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Outcome::Clean
        }
        Err(error) => {
            report.error("input", &crate::error_chain(&error));
            Outcome::Unusable
        }
        Ok(()) if report.has_findings() => Outcome::Findings,
        Ok(()) => Outcome::Clean,
    }
}

/// Translates each object that comes.
struct Translation<'a, W: Write, R: Write> {
    translator: Translator,
    direction: Direction,
    output: Output<W>,
    report: &'a mut Report<R>,
}

impl<W: Write, R: Write> Sink for Translation<'_, W, R> {
    fn object(&mut self, object: Value) -> io::Result<()> {
        let name = object::describe(&object);
        let translated = object::translate(self.translator, self.direction, &object);
        for warning in &translated.warnings {
            self.report.warning(&name, warning);
        }
        for error in &translated.errors {
            self.report.error(&name, error);
        }
        match translated.object {
            Some(new) => self.output.object(&new, Some(&object))?,
            None => self.output.object(&object, None)?,
        }
        for volume in &translated.inline_volumes {
            self.output.object(volume, Some(&Value::Null))?;
        }
        Ok(())
    }

    fn begin_list(&mut self) -> io::Result<()> {
        self.output.begin_list()
    }

    fn list_field(&mut self, key: &str, value: Value) -> io::Result<()> {
        self.output.list_field(key, &value)
    }

    fn begin_items(&mut self) -> io::Result<()> {
        self.output.begin_items()
    }

    fn end_items(&mut self) -> io::Result<()> {
        self.output.end_items()
    }

    fn end_list(&mut self) -> io::Result<()> {
        self.output.end_list()
    }
}

/// Compares each volume that comes.
struct Drifting<'a, R: Write> {
    from: KubernetesVersion,
    to: KubernetesVersion,
    report: &'a mut Report<R>,
}

impl<R: Write> Sink for Drifting<'_, R> {
    fn object(&mut self, object: Value) -> io::Result<()> {
        let name = object::describe(&object);
        match object::drift(&object, self.from, self.to) {
            Ok(changes) => {
                for change in changes {
                    let text = format!("{}: {} -> {}", change.what, change.from, change.to);
                    self.report.error(&name, &text);
                }
            }
            Err(error) => self.report.error(&name, &error),
        }
        Ok(())
    }
}
