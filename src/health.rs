//! What this process knows of its own health, for Probe, `/healthz`, `/readyz` and metrics.
//!
//! It is told from outside (the watcher looks at the storage, the kubelet speaks to the registration) and only read here,
//! so that an answer never waits for a disk.

use tokio::sync::watch;

use crate::backend::Measured;

/// The last that is known of the storage.
#[derive(Debug, Clone, Default)]
pub struct StorageReport {
    /// A first look has ended, or has taken too long.
    pub looked: bool,
    /// Why the storage cannot be reached.
    pub unreachable: Option<String>,
    /// Usable, but not as it should be.
    pub degraded: Option<String>,
    /// What was measured when it could be reached last.
    pub measured: Option<Measured>,
}

/// The last that is known of the registration with the kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// A sidecar does it, or nobody.
    Off,
    /// The kubelet has not said anything yet.
    Waiting,
    /// The kubelet knows the driver.
    Registered,
    /// The kubelet refused the driver, for this reason.
    Refused(String),
}

/// Both.
#[derive(Debug, Clone)]
pub struct Health {
    /// The storage, as the watcher saw it last.
    pub storage: watch::Receiver<StorageReport>,
    /// The registration, as the kubelet told it last.
    pub registration: watch::Receiver<Registration>,
}

impl Health {
    /// Whether the driver works, or why not.
    pub fn live(&self) -> Result<(), String> {
        match &self.storage.borrow().unreachable {
            Some(reason) => Err(format!("the storage cannot be reached: {reason}")),
            None => Ok(()),
        }
    }

    /// Whether pods can use the driver, or why not: the storage is known to be good, and the kubelet knows the driver.
    pub fn ready(&self) -> Result<(), String> {
        self.live()?;
        if !self.storage.borrow().looked {
            return Err("the storage has not been looked at yet".to_owned());
        }
        match &*self.registration.borrow() {
            Registration::Off | Registration::Registered => Ok(()),
            Registration::Waiting => {
                Err("the kubelet has not registered the driver yet".to_owned())
            }
            Registration::Refused(reason) => {
                Err(format!("the kubelet refuses the driver: {reason}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(report: StorageReport, registration: Registration) -> Health {
        Health {
            storage: watch::channel(report).1,
            registration: watch::channel(registration).1,
        }
    }

    fn good() -> StorageReport {
        StorageReport {
            looked: true,
            ..StorageReport::default()
        }
    }

    #[test]
    fn a_driver_is_live_until_its_storage_is_known_to_be_away() {
        let unknown = health(StorageReport::default(), Registration::Off);
        assert!(unknown.live().is_ok());
        assert!(unknown.ready().is_err());
        let away = StorageReport {
            unreachable: Some("no disk".to_owned()),
            ..good()
        };
        let away = health(away, Registration::Off);
        assert!(away.live().is_err_and(|it| it.contains("no disk")));
        assert!(away.ready().is_err());
    }

    #[test]
    fn a_driver_is_ready_when_the_kubelet_knows_it() {
        let ready = |registration| health(good(), registration).ready().is_ok();
        assert!(ready(Registration::Off));
        assert!(!ready(Registration::Waiting));
        assert!(!ready(Registration::Refused("exists".to_owned())));
        assert!(ready(Registration::Registered));
    }
}
