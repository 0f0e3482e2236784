//! Every metric of the driver: the one table that its text, its documentation and its tests are made from.

/// What Prometheus calls the type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// A metric: all samples of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name, the unit last.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Counter;
    Family { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family { name, kind, help }
}

pub(super) const OPERATIONS: Family = Family {
    name: "csi_plugin_operations_seconds",
    kind: Kind::Histogram,
    help: "Time until a CSI call was answered, by driver_name, method_name and grpc_status_code.",
};
pub(super) const IN_FLIGHT: Family = gauge(
    "offshoot_operations_in_flight",
    "CSI calls that wait for their answer now.",
);
pub(super) const CLAIMED: Family = gauge(
    "offshoot_claimed_objects",
    "Volumes, snapshots and groups that an operation holds now; a second one for them gets ABORTED.",
);
pub(super) const BUILD_INFO: Family = gauge(
    "offshoot_build_info",
    "Always 1; the labels say which version runs, with which backend and in which mode.",
);
pub(super) const STORAGE_REACHABLE: Family = gauge(
    "offshoot_storage_reachable",
    "1 while the storage answers and is the one we know, 0 while it does not; looked at every 10 s.",
);
pub(super) const STORAGE_DEGRADED: Family = gauge(
    "offshoot_storage_degraded",
    "1 while the storage has less free space than its reserve: nothing new can be made.",
);
pub(super) const POOL_CAPACITY: Family = gauge(
    "offshoot_pool_capacity_bytes",
    "Size of the storage that holds the volumes, as it was when it answered last.",
);
pub(super) const POOL_AVAILABLE: Family = gauge(
    "offshoot_pool_available_bytes",
    "Free space of the storage, the reserve left out, as it was when it answered last.",
);
pub(super) const POOL_RESERVE: Family = gauge(
    "offshoot_pool_reserve_bytes",
    "Space that is kept free, so that thin volumes can still be written to (--pool-reserve).",
);
pub(super) const VOLUMES: Family = gauge(
    "offshoot_volumes",
    "Volumes by state: published to a node, unpublished, or quarantined (its record is damaged).",
);
pub(super) const PROVISIONED: Family = gauge(
    "offshoot_volumes_provisioned_bytes",
    "Sizes of all volumes together as their users see them; thin volumes may promise more than the storage has.",
);
pub(super) const SNAPSHOTS: Family = gauge(
    "offshoot_snapshots",
    "Snapshots by state: ready, or quarantined (its record is damaged).",
);
pub(super) const GROUP_SNAPSHOTS: Family = gauge("offshoot_group_snapshots", "Group snapshots.");
pub(super) const LOOP_DEVICES: Family = gauge(
    "offshoot_loop_devices",
    "Devices of this node that have a volume behind them, as seen when the storage answered last.",
);
pub(super) const REGISTERED: Family = gauge(
    "offshoot_kubelet_registered",
    "1 when the kubelet has registered the driver, 0 before and after a refusal; absent without --registration-dir.",
);
pub(super) const CPU: Family = counter(
    "process_cpu_seconds_total",
    "Processor time of the driver, user and system.",
);
pub(super) const RESIDENT: Family = gauge(
    "process_resident_memory_bytes",
    "Memory of the driver that is in RAM.",
);
pub(super) const VIRTUAL: Family = gauge(
    "process_virtual_memory_bytes",
    "Address space of the driver.",
);
pub(super) const OPEN_FDS: Family = gauge("process_open_fds", "Open file descriptors.");
pub(super) const MAX_FDS: Family = gauge(
    "process_max_fds",
    "How many file descriptors may be open at once.",
);
pub(super) const THREADS: Family = gauge("process_threads", "Threads of the driver.");
pub(super) const STARTED: Family = gauge(
    "process_start_time_seconds",
    "When the driver was started, in seconds since 1970.",
);

/// All of them, in the order in which they are written.
pub const FAMILIES: &[Family] = &[
    OPERATIONS,
    IN_FLIGHT,
    CLAIMED,
    BUILD_INFO,
    STORAGE_REACHABLE,
    STORAGE_DEGRADED,
    POOL_CAPACITY,
    POOL_AVAILABLE,
    POOL_RESERVE,
    VOLUMES,
    PROVISIONED,
    SNAPSHOTS,
    GROUP_SNAPSHOTS,
    LOOP_DEVICES,
    REGISTERED,
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    THREADS,
    STARTED,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            let plain = |it: char| it.is_ascii_lowercase() || it == '_';
            assert!(family.name.chars().all(plain), "{}", family.name);
            let is_counter = family.kind == Kind::Counter;
            assert_eq!(family.name.ends_with("_total"), is_counter);
            assert!(family.help.ends_with('.') && !family.help.contains('\n'));
            let same = FAMILIES.iter().filter(|it| it.name == family.name);
            assert_eq!(same.count(), 1, "{}", family.name);
        }
    }
}
