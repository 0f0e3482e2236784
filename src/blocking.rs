//! Where blocking work is done: never on the thread that answers.
//!
//! An operation gets a thread for its whole length, so that its many short system calls cost no change of threads each.
//! Work outside an operation gets a thread for itself.

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

tokio::task_local! {
    /// Set while an operation runs on a thread of its own.
    static ON_OWN_THREAD: ();
}

/// Runs an operation on a thread of its own, to its end, whatever becomes of the handle.
pub fn spawn<T: Send + 'static>(
    operation: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let runtime = Handle::current();
    spawn_blocking(move || runtime.block_on(ON_OWN_THREAD.scope((), operation)))
}

/// Runs `work`, which may block: here if this is an operation's thread, else on another.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_allowed() {
        return Ok(work());
    }
    spawn_blocking(work).await
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
        let (own, first, second) = operation.await.unwrap();
        assert_ne!(own, answers);
        assert_eq!((first, second), (own, own));
    }
}
