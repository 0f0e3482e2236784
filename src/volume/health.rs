//! Health, as CSI 1.13 reports it: an empty list means that no problem is known.

/// CSI's `VolumeHealthErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// Usable, but not as it should be.
    Degraded,
    /// Not usable now.
    Inaccessible,
    /// Some of its data is gone.
    DataLoss,
}

/// One condition of a volume. No two entries of a volume share status and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How bad it is.
    pub status: HealthStatus,
    /// The condition in CamelCase, for programs.
    pub reason: &'static str,
    /// What happened and what to do, for people; at most 128 bytes go over the wire.
    pub message: String,
}

/// CSI's `StorageHealthErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageHealthStatus {
    /// Usable, but not as it should be.
    Degraded,
    /// Not reachable from here.
    Unreachable,
}

/// One condition of the storage behind all volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageHealth {
    /// How bad it is.
    pub status: StorageHealthStatus,
    /// The condition in CamelCase, for programs.
    pub reason: &'static str,
    /// What happened and what to do, for people.
    pub message: String,
}
