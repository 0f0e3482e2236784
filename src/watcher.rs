//! Looks at the storage now and then, so that nobody else has to.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::backend::{Backend, Measured};
use crate::health::StorageReport;
use crate::volume::{StorageHealth, StorageHealthStatus};

/// How often, and how long a look may take.
const INTERVAL: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(5);

/// Keeps `report` up to date, for ever. One look at a time: a hung storage costs one waiting thread, not one for each look.
pub(crate) async fn watch_storage(backend: Arc<dyn Backend>, report: watch::Sender<StorageReport>) {
    loop {
        let mut look = pin!(look(backend.as_ref()));
        let in_time = timeout(LIMIT, &mut look).await;
        let seen = if let Ok(seen) = in_time {
            seen
        } else {
            let silence = format!("no answer within {} s", LIMIT.as_secs());
            note(&report, Seen::unreachable(silence));
            look.await
        };
        note(&report, seen);
        sleep(INTERVAL).await;
    }
}

/// What one look showed.
struct Seen {
    unreachable: Option<String>,
    degraded: Option<String>,
    measured: Option<Measured>,
}

impl Seen {
    fn unreachable(reason: String) -> Self {
        Self {
            unreachable: Some(reason),
            degraded: None,
            measured: None,
        }
    }
}

async fn look(backend: &dyn Backend) -> Seen {
    let health = match backend.storage_health().await {
        Ok(health) => health,
        Err(error) => return Seen::unreachable(error.to_string()),
    };
    let message = |status| {
        let of_status = |it: &&StorageHealth| it.status == status;
        health.iter().find(of_status).map(|it| it.message.clone())
    };
    match message(StorageHealthStatus::Unreachable) {
        Some(reason) => Seen::unreachable(reason),
        None => Seen {
            unreachable: None,
            degraded: message(StorageHealthStatus::Degraded),
            // It was there a moment ago; the next look says what became of it.
            measured: backend.measure().await.ok(),
        },
    }
}

/// What could not be measured this time stays as it was.
fn note(report: &watch::Sender<StorageReport>, seen: Seen) {
    report.send_modify(|report| {
        report.looked = true;
        report.unreachable = seen.unreachable;
        report.degraded = seen.degraded;
        report.measured = seen.measured.or(report.measured.take());
    });
}
