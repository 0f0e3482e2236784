//! One operation at a time on each object.
//!
//! A call claims every object that it changes, and shares those that it only needs to stay as they are; all at once, so
//! that no two calls can wait for each other. Nobody waits at all: who comes second is told who holds the object and
//! for how long (CSI 1.13, "Error Scheme": ABORTED). A claim ends when it is dropped, and so does never outlive its task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use thiserror::Error;

/// The operations that are under way.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Mutex<HashMap<String, Held>>>);

struct Held {
    operation: &'static str,
    since: Instant,
    /// How many calls share the object; `None` when one has it for itself.
    sharers: Option<usize>,
}

/// An object that a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// To change it: nobody else may use it meanwhile.
    Alone(String),
    /// To read it: nobody else may change it meanwhile.
    Shared(String),
}

impl Need {
    /// An object that the call changes.
    pub fn alone(id: &impl ToString) -> Self {
        Self::Alone(id.to_string())
    }

    /// An object that must stay as it is.
    pub fn shared(id: &impl ToString) -> Self {
        Self::Shared(id.to_string())
    }

    fn id(&self) -> &String {
        match self {
            Self::Alone(id) | Self::Shared(id) => id,
        }
    }
}

/// Another operation holds an object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{operation} of {id} has been running for {seconds} s; repeat the call when it is done")]
pub struct OperationPending {
    id: String,
    operation: &'static str,
    seconds: u64,
}

/// The right to work on some objects, until it is dropped.
pub struct Claim {
    in_flight: InFlight,
    needs: Vec<Need>,
}

impl InFlight {
    /// Claims all of `needs` or none. An object may be named twice only to be shared.
    pub fn claim(
        &self,
        operation: &'static str,
        needs: Vec<Need>,
    ) -> Result<Claim, OperationPending> {
        let mut held = self.lock();
        if let Some(pending) = needs.iter().find_map(|need| conflict(&held, need)) {
            return Err(pending);
        }
        for need in &needs {
            hold(&mut held, operation, need);
        }
        Ok(Claim {
            in_flight: self.clone(),
            needs,
        })
    }

    /// How many objects are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No code panics while it holds the lock, and the map is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.in_flight.lock();
        for need in &self.needs {
            release(&mut held, need.id());
        }
    }
}

fn conflict(held: &HashMap<String, Held>, need: &Need) -> Option<OperationPending> {
    let holder = held.get(need.id())?;
    let shareable = holder.sharers.is_some() && matches!(need, Need::Shared(_));
    (!shareable).then(|| OperationPending {
        id: need.id().clone(),
        operation: holder.operation,
        seconds: holder.since.elapsed().as_secs(),
    })
}

fn hold(held: &mut HashMap<String, Held>, operation: &'static str, need: &Need) {
    let first = Held {
        operation,
        since: Instant::now(),
        sharers: matches!(need, Need::Shared(_)).then_some(0),
    };
    let entry = held.entry(need.id().clone()).or_insert(first);
    entry.sharers = entry.sharers.map(|sharers| sharers + 1);
}

fn release(held: &mut HashMap<String, Held>, id: &str) {
    match held.get_mut(id).map(|entry| &mut entry.sharers) {
        Some(Some(sharers)) if *sharers > 1 => *sharers -= 1,
        _ => {
            held.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_caller_learns_who_is_first() {
        let in_flight = InFlight::default();
        let claim = in_flight
            .claim("CreateVolume", vec![Need::alone(&"v1")])
            .unwrap_or_else(|_| panic!("nothing is held"));
        let Err(pending) = in_flight.claim("DeleteVolume", vec![Need::alone(&"v1")]) else {
            panic!("v1 is held");
        };
        assert!(pending.to_string().starts_with("CreateVolume of v1"));
        drop(claim);
        assert!(in_flight.is_empty());
    }

    #[test]
    fn sharers_keep_out_who_wants_it_alone() {
        let in_flight = InFlight::default();
        let shared = || in_flight.claim("CreateSnapshot", vec![Need::shared(&"v1")]);
        let (first, second) = (shared(), shared());
        assert!(first.is_ok() && second.is_ok());
        drop(first);
        assert!(in_flight.claim("Delete", vec![Need::alone(&"v1")]).is_err());
        drop(second);
        assert!(in_flight.claim("Delete", vec![Need::alone(&"v1")]).is_ok());
    }

    #[test]
    fn a_claim_that_cannot_have_all_takes_nothing() {
        let in_flight = InFlight::default();
        let held = in_flight.claim("A", vec![Need::alone(&"v2")]);
        assert!(
            in_flight
                .claim("B", vec![Need::alone(&"v1"), Need::alone(&"v2")])
                .is_err()
        );
        assert_eq!(in_flight.len(), 1);
        drop(held);
    }
}
