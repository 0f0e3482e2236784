//! Looks that may meet a dead disk: each on a thread of its own, with a deadline, once at a time for each path.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::join;
use crate::blocking;
use crate::host::{HostError, Result};
use crate::volume::TargetPath;

/// How long a disk may take to answer: well below the kubelet's two minutes.
const LIMIT: Duration = Duration::from_secs(4);

type Key = (&'static str, TargetPath);

/// The looks that are under way. One that hangs costs one thread, not one for each repetition.
#[derive(Clone)]
pub(super) struct Bounded {
    limit: Duration,
    under_way: Arc<Mutex<HashSet<Key>>>,
}

impl Default for Bounded {
    fn default() -> Self {
        Self {
            limit: LIMIT,
            under_way: Arc::default(),
        }
    }
}

impl Bounded {
    /// Runs `work`; [`HostError::Hung`] when it takes too long, or while an earlier one of this path still hangs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        kind: &'static str,
        path: &TargetPath,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hung = || HostError::Hung {
            what: path.to_string(),
            seconds: self.limit.as_secs(),
        };
        let key = (kind, path.clone());
        if !self.lock().insert(key.clone()) {
            return Err(hung());
        }
        let entry = Entry {
            all: self.clone(),
            key,
        };
        let look = blocking::thread(move || {
            let result = work();
            drop(entry);
            result
        });
        let look = look.map_err(|error| HostError::failed(format!("look at {path}"), error))?;
        match timeout(self.limit, look).await {
            Ok(joined) => join(joined.map_err(Into::into)),
            Err(_) => Err(hung()),
        }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the thread, not with the caller.
struct Entry {
    all: Bounded,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_hung_disk_costs_one_thread_and_no_patience() {
        let bounded = Bounded {
            limit: Duration::from_millis(20),
            ..Bounded::default()
        };
        let dead = TargetPath::parse(Path::new("/k"), "/k/dead").expect("a path");
        let alive = TargetPath::parse(Path::new("/k"), "/k/alive").expect("a path");
        let (disk_answers, hangs) = mpsc::channel::<()>();
        let first = bounded
            .run("look", &dead, move || Ok(hangs.recv().is_ok()))
            .await;
        assert!(matches!(first, Err(HostError::Hung { .. })), "{first:?}");
        let second = bounded.run("look", &dead, || Ok(true)).await;
        assert!(matches!(second, Err(HostError::Hung { .. })), "{second:?}");
        let other = bounded.run("look", &alive, || Ok(true)).await;
        assert!(matches!(other, Ok(true)), "other volumes go on");
        disk_answers.send(()).expect("the thread waits");
        while !bounded.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let again = bounded.run("look", &dead, || Ok(true)).await;
        assert!(matches!(again, Ok(true)), "{again:?}");
    }
}
