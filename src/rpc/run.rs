//! Work that must not stop half-way because its caller went away.

use std::future::Future;

use tonic::Status;

use crate::blocking;
use crate::in_flight::Claim;

/// Runs `work` on a thread of its own, which holds `claim` until the work is done, whatever becomes of the caller.
pub(super) async fn run_to_end<T, E>(
    claim: Claim,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Status>
where
    T: Send + 'static,
    E: Send + 'static,
    Status: From<E>,
{
    let task = blocking::spawn(async move {
        let result = work.await;
        drop(claim);
        result
    });
    // It waits for a thread, and keeps its claim: no final code.
    let task = task.map_err(|error| Status::unavailable(error.to_string()))?;
    match task.await {
        Ok(result) => result.map_err(Status::from),
        // A panic is a bug; the state is what a crash would leave, from which a repeated call converges.
        Err(error) => Err(Status::internal(format!(
            "the operation was cut short by a bug of the driver ({error}); repeat the call, and please report it"
        ))),
    }
}
