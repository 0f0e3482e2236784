//! Where blocking work is done: never on the thread that answers.
//!
//! An operation gets a thread for its whole length, so that its many short system calls cost no change of threads each.
//! Work outside an operation gets a thread for itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Why work has no result.
#[derive(Debug, Error)]
pub enum BlockingError {
    /// The system gives this process no thread. The work waits for one.
    #[error("this machine has no threads left; end what uses them, or raise its limits")]
    NoThread,
    /// It panicked, or the runtime ends.
    #[error(transparent)]
    Join(#[from] JoinError),
}

tokio::task_local! {
    /// Set while an operation runs on a thread of its own.
    static ON_OWN_THREAD: ();
}

/// Runs an operation on a thread of its own, to its end, whatever becomes of the handle.
pub fn spawn<T: Send + 'static>(
    operation: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<T>, BlockingError> {
    let runtime = Handle::current();
    thread(move || runtime.block_on(ON_OWN_THREAD.scope((), operation)))
}

/// Gives `work` a thread.
pub fn thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, BlockingError> {
    // tokio panics when it has no thread at all and gets none; by then it holds no lock, and the work is in its queue.
    catch_unwind(AssertUnwindSafe(|| spawn_blocking(work))).map_err(|_| BlockingError::NoThread)
}

/// Runs `work`, which may block: here if this is an operation's thread, else on another.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    if is_allowed() {
        return Ok(work());
    }
    Ok(thread(work)?.await?)
}

/// Whether this is an operation's thread, on which nobody else waits.
#[must_use]
pub fn is_allowed() -> bool {
    ON_OWN_THREAD.try_with(|()| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use super::*;

    async fn thread() -> ThreadId {
        run(|| current().id()).await.unwrap()
    }

    #[tokio::test]
    async fn the_thread_that_answers_never_blocks_and_an_operation_keeps_its_own() {
        let answers = current().id();
        assert_ne!(thread().await, answers);
        let operation = spawn(async { (current().id(), thread().await, thread().await) });
        let (own, first, second) = operation.unwrap().await.unwrap();
        assert_ne!(own, answers);
        assert_eq!((first, second), (own, own));
    }
}
