//! The `offshoot` command: arguments in, exit code out. Everything else is in the library.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use offshoot::config::{LogFormat, ServeArgs};
use offshoot::demo::{self, DemoArgs};
use offshoot::doctor::{self, DoctorArgs};
use offshoot::kubernetes::{PreStopArgs, pre_stop};
use offshoot::traces::{self, Exporter};
use offshoot::translate::{self, DriftArgs, TranslateArgs};
use offshoot::{error_chain, rpc, serve};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Block storage for Kubernetes in one binary, and the way out of in-tree volumes
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the CSI driver
    Serve(ServeArgs),
    /// Wait until a drained node has no volumes of the driver left (preStop hook of the node container)
    PreStop(PreStopArgs),
    /// Look at this node, and say what the driver will miss here and what to do about it
    Doctor(DoctorArgs),
    /// Show the whole life of a volume on this machine, on real devices
    Demo(DemoArgs),
    /// Turn in-tree volumes into CSI volumes, or back, exactly as Kubernetes does
    Translate(TranslateArgs),
    /// Find the volumes whose handle, topology or attributes an upgrade of Kubernetes changes
    Drift(DriftArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => run_serve(args),
        Command::PreStop(args) => run(pre_stop(args)),
        Command::Doctor(args) => return run_doctor(args),
        Command::Demo(args) => run(demo::run(args)),
        Command::Translate(args) => return translate::translate(&args).into(),
        Command::Drift(args) => return translate::drift(&args).into(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offshoot: {}", error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn Error>>;

fn run_serve(args: ServeArgs) -> Outcome {
    let spans = start_logs(&args)?;
    run(serve::serve(args, spans))
}

fn run_doctor(args: DoctorArgs) -> ExitCode {
    let mut code = ExitCode::FAILURE;
    let work = async {
        code = doctor::examine(args).await;
        Ok::<(), std::convert::Infallible>(())
    };
    match run(work) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("offshoot: {error}");
            ExitCode::FAILURE
        }
    }
}

/// For as many calls as are worked on at once (`rpc::MAX_CALLS`), each with a look that may hang.
const THREADS: usize = 2 * rpc::MAX_CALLS;

/// Longer than the pause between two looks at the storage, so that a thread is always there: a call that gets no other waits
/// for it, instead of being refused.
const KEEP_THREADS: Duration = Duration::from_secs(15);

/// One thread answers; what blocks has threads of its own.
fn run<E: Error + 'static>(work: impl Future<Output = Result<(), E>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(KEEP_THREADS)
        .build()?;
    let outcome = runtime.block_on(work);
    // A thread that hangs in the kernel must not keep the process.
    runtime.shutdown_background();
    outcome.map_err(Into::into)
}

/// `debug` and `trace` alone mean the driver's own lines: those of the libraries below it, several for each frame of a
/// call, are there for who names them.
fn log_filter(text: &str) -> Result<Targets, ParseError> {
    match text.parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::INFO => Ok(Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("offshoot", level)),
        _ => text.parse(),
    }
}

/// Where log lines and spans go; who sends the spans.
fn start_logs(args: &ServeArgs) -> Result<Option<Exporter>, Box<dyn Error>> {
    let filter = log_filter(&args.log_level)
        .map_err(|error| format!("--log-level {:?} is no filter: {error}", args.log_level))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let traces = args.otlp_endpoint.as_deref().map(traces::to);
    let (layer, exporter) = traces.transpose()?.unzip();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(layer)
        .init();
    Ok(exporter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn debug_alone_is_of_the_driver_itself() {
        let bare = log_filter("debug").unwrap();
        assert!(bare.would_enable("offshoot::node", &Level::DEBUG));
        assert!(bare.would_enable("h2", &Level::INFO) && !bare.would_enable("h2", &Level::DEBUG));
        let named = log_filter("debug,h2=trace").unwrap();
        assert!(named.would_enable("h2", &Level::TRACE));
        let quiet = log_filter("warn").unwrap();
        assert!(!quiet.would_enable("offshoot", &Level::INFO));
    }
}
