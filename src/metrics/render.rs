//! The text that Prometheus reads (text format 0.0.4).

use std::fmt::Write as _;

use super::families::{
    BUILD_INFO, CLAIMED, CPU, Family, GROUP_SNAPSHOTS, IN_FLIGHT, Kind, LOOP_DEVICES, MAX_FDS,
    OPEN_FDS, OPERATIONS, POOL_AVAILABLE, POOL_CAPACITY, POOL_RESERVE, PROVISIONED, REGISTERED,
    RESIDENT, SNAPSHOTS, STARTED, STORAGE_DEGRADED, STORAGE_REACHABLE, THREADS, VIRTUAL, VOLUMES,
};
use super::http::BuildInfo;
use super::operations::{BUCKETS, Operations};
use super::process::Process;
use crate::backend::{Inventory, Measured};
use crate::health::{Registration, StorageReport};

/// All that is shown.
pub(super) struct State<'a> {
    pub(super) info: &'a BuildInfo,
    pub(super) operations: &'a Operations,
    /// Objects that are held.
    pub(super) claimed: usize,
    pub(super) report: &'a StorageReport,
    pub(super) registration: &'a Registration,
    pub(super) inventory: Option<Inventory>,
    pub(super) process: Option<Process>,
}

/// Writes `state` as text. What is not known has no sample.
pub(super) fn render(state: &State<'_>) -> String {
    let mut text = Text(String::with_capacity(16 << 10));
    operations(&mut text, state.operations, &state.info.driver);
    text.value(&IN_FLIGHT, state.operations.in_flight() as f64);
    text.value(&CLAIMED, state.claimed as f64);
    build_info(&mut text, state.info);
    storage(&mut text, state.report);
    inventory(&mut text, state.inventory);
    let devices = state.report.measured.map(|it| it.devices as f64);
    text.optional(&LOOP_DEVICES, devices);
    let registered = match state.registration {
        Registration::Off => None,
        Registration::Registered => Some(1.0),
        Registration::Waiting | Registration::Refused(_) => Some(0.0),
    };
    text.optional(&REGISTERED, registered);
    process(&mut text, state.process.as_ref());
    text.0
}

fn operations(text: &mut Text, operations: &Operations, driver: &str) {
    text.head(&OPERATIONS);
    let name = OPERATIONS.name;
    for ended in operations.ended() {
        let labels = [
            ("driver_name", driver),
            ("method_name", &ended.method),
            ("grpc_status_code", ended.code),
        ];
        let bounds = BUCKETS.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut all = 0;
        for (bound, count) in bounds.zip(ended.histogram.cumulative()) {
            let [a, b, c] = labels;
            text.sample(name, "_bucket", &[a, b, c, ("le", &bound)], count as f64);
            all = count;
        }
        text.sample(name, "_sum", &labels, ended.histogram.seconds);
        text.sample(name, "_count", &labels, all as f64);
    }
}

fn build_info(text: &mut Text, info: &BuildInfo) {
    text.head(&BUILD_INFO);
    let (backend, mode) = (info.backend_name(), info.mode_name());
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("driver_name", &info.driver),
        ("backend", &backend),
        ("mode", &mode),
    ];
    text.sample(BUILD_INFO.name, "", &labels, 1.0);
}

fn storage(text: &mut Text, report: &StorageReport) {
    let known = |it: bool| report.looked.then_some(f64::from(u8::from(it)));
    text.optional(&STORAGE_REACHABLE, known(report.unreachable.is_none()));
    text.optional(&STORAGE_DEGRADED, known(report.degraded.is_some()));
    let pool = |of: fn(&Measured) -> u64| report.measured.as_ref().map(|it| of(it) as f64);
    text.optional(&POOL_CAPACITY, pool(|it| it.pool.capacity.0));
    text.optional(&POOL_AVAILABLE, pool(|it| it.pool.available.0));
    text.optional(&POOL_RESERVE, pool(|it| it.pool.reserve.0));
}

fn inventory(text: &mut Text, inventory: Option<Inventory>) {
    let volumes = inventory.map(|it| {
        [
            ("published", it.published_volumes),
            ("unpublished", it.unpublished_volumes),
            ("quarantined", it.quarantined_volumes),
        ]
    });
    text.states(&VOLUMES, volumes.as_ref().map(<[_; 3]>::as_slice));
    text.optional(&PROVISIONED, inventory.map(|it| it.provisioned.0 as f64));
    let snapshots = inventory.map(|it| {
        [
            ("ready", it.snapshots),
            ("quarantined", it.quarantined_snapshots),
        ]
    });
    text.states(&SNAPSHOTS, snapshots.as_ref().map(<[_; 2]>::as_slice));
    text.optional(
        &GROUP_SNAPSHOTS,
        inventory.map(|it| it.group_snapshots as f64),
    );
}

fn process(text: &mut Text, process: Option<&Process>) {
    text.optional(&CPU, process.map(|it| it.cpu_seconds));
    text.optional(&RESIDENT, process.map(|it| it.resident as f64));
    text.optional(&VIRTUAL, process.map(|it| it.virtual_size as f64));
    text.optional(&OPEN_FDS, process.map(|it| it.open_fds as f64));
    let max_fds = process.and_then(|it| it.max_fds);
    text.optional(&MAX_FDS, max_fds.map(|it| it as f64));
    text.optional(&THREADS, process.map(|it| it.threads as f64));
    text.optional(&STARTED, process.map(|it| it.started));
}

struct Text(String);

impl Text {
    fn head(&mut self, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Family { name, help, .. } = family;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A metric with one sample.
    fn value(&mut self, family: &Family, value: f64) {
        self.optional(family, Some(value));
    }

    fn optional(&mut self, family: &Family, value: Option<f64>) {
        self.head(family);
        if let Some(value) = value {
            self.sample(family.name, "", &[], value);
        }
    }

    /// A metric with a sample for each state.
    fn states(&mut self, family: &Family, states: Option<&[(&str, u64)]>) {
        self.head(family);
        for (state, count) in states.unwrap_or_default() {
            self.sample(family.name, "", &[("state", state)], *count as f64);
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let pairs: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if pairs.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", pairs.join(","))
        };
        self.line(format_args!("{name}{suffix}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String does not fail");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendKind, Mode};
    use crate::metrics::FAMILIES;

    fn rendered() -> String {
        let info = BuildInfo {
            driver: "offshoot.dev".to_owned(),
            mode: Mode::All,
            backend: BackendKind::Memory,
        };
        let state = State {
            info: &info,
            operations: &Operations::default(),
            claimed: 2,
            report: &StorageReport::default(),
            registration: &Registration::Waiting,
            inventory: None,
            process: None,
        };
        render(&state)
    }

    #[test]
    fn every_metric_of_the_table_is_written_once_and_in_order() {
        let text = rendered();
        let written = text.lines().filter_map(|line| {
            let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
            Some((name, help))
        });
        let table = FAMILIES.iter().map(|it| (it.name, it.help));
        assert!(written.eq(table), "{text}");
    }

    #[test]
    fn what_is_not_known_has_no_sample() {
        let text = rendered();
        assert!(!text.contains("\noffshoot_pool_capacity_bytes "), "{text}");
        assert!(!text.contains("\noffshoot_storage_reachable "), "{text}");
        assert!(text.contains("\noffshoot_claimed_objects 2\n"), "{text}");
        assert!(text.contains("\noffshoot_kubelet_registered 0\n"), "{text}");
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
