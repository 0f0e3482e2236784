//! A system call that fails: the answer must say so rightly, nothing may be lost, and the call repeated must converge.

use nix::errno::Errno;
use tonic::Code;

use crate::calls::Call;
use crate::flow::Tally;
use crate::lab::Lab;
use crate::script::{Contents, Flow};
use crate::table::Class;
use crate::tracer::{Action, Fault, Point, Report, Select};
use crate::world::World;

const ERRNOS: [Errno; 6] = [
    Errno::EIO,
    Errno::ENOSPC,
    Errno::EMFILE,
    Errno::ENOMEM,
    Errno::EINTR,
    Errno::EBUSY,
];
/// Those that can last. EINTR that lasts is a machine that does nothing else.
const LASTING: [Errno; 3] = [Errno::EIO, Errno::ENOSPC, Errno::ENOMEM];

/// Lets one point fail in every way; how many points that were.
pub(crate) async fn refuse_at(
    lab: &mut Lab,
    flow: &Flow,
    points: &[Point],
    number: usize,
    tally: &mut Tally,
) -> Result<usize, String> {
    let point = points[number];
    let all = ERRNOS.map(|it| (it, false)).into_iter();
    let lasting = LASTING.map(|it| (it, true)).into_iter();
    let mut tried = 0;
    for (errno, lasting) in all.chain(lasting.filter(|_| number.is_multiple_of(3))) {
        // mkfs.btrfs 6.2 goes on after some writes that failed, and succeeds; what it leaves mounts, but is not clean.
        if point.in_tool && lab.contents == Contents::Btrfs {
            continue;
        }
        // A tool's own errors are the tool's affair; that its failure is noticed is what is tried.
        if point.in_tool && (lasting || !matches!(errno, Errno::EIO | Errno::ENOSPC)) {
            continue;
        }
        let fault = Fault {
            select: Select::Nth(number),
            action: Action::Fail {
                errno,
                in_tool: point.in_tool,
            },
            lasting,
        };
        let how = if lasting { " that lasts" } else { "" };
        let code = suffer(lab, flow, fault, |code| {
            is_right(&flow.call, point, errno, code)
        })
        .await
        .map_err(|problem| format!("{errno:?}{how}: {problem}"))?;
        let codes = tally.codes.entry(format!("{errno:?}")).or_default();
        *codes.entry(format!("{code:?}")).or_default() += 1;
        tried += 1;
    }
    Ok(tried)
}

/// The fault is this machine's, and passes: nothing that blames the caller, or tells that something is lost.
fn is_right(call: &Call, point: Point, errno: Errno, code: Code) -> bool {
    match code {
        // What cannot be looked at is not seen to be the volume.
        Code::NotFound => matches!(call, Call::NodeExpand(_)),
        Code::FailedPrecondition => matches!(call, Call::NodePublish(_)),
        // What there is no more of is told as such, but by tools that are stopped at something else than writing.
        Code::Internal => errno != Errno::ENOSPC || point.in_tool,
        Code::Unavailable | Code::Aborted => true,
        Code::ResourceExhausted => {
            matches!(errno, Errno::ENOSPC | Errno::EMFILE | Errno::ENOMEM)
        }
        _ => false,
    }
}

/// Makes the call under a fault that the driver survives, and again without it; how it answered the first time.
pub(crate) async fn suffer(
    lab: &mut Lab,
    flow: &Flow,
    fault: Fault,
    is_right: impl Fn(Code) -> bool,
) -> Result<Code, String> {
    let base = lab.world.clone();
    // What a driver keeps from call to call would change the count.
    lab.restart().await;
    lab.perform_all(&flow.prepare).await?;
    lab.write()?;
    let (answer, report) = lab.driver.ask_under(&flow.call, fault).await?;
    lab.note(&report);
    let told = match answer {
        Ok(_) => hold(lab, flow, &report).await.map(|()| Code::Ok),
        Err(status) if is_right(status.code()) => Ok(status.code()),
        Err(status) => Err(format!("answered {status}")),
    };
    let repeated = match told {
        Ok(code) => repeat(lab, flow, &base).await.map(|()| code),
        problem => problem,
    };
    repeated.map_err(|problem| format!("{}: {problem}", report.place()))
}

/// The driver answered OK: it must be so, and not in its memory only.
async fn hold(lab: &mut Lab, flow: &Flow, report: &Report) -> Result<(), String> {
    lab.world = lab.world.after(&flow.call);
    lab.verify().await?;
    if let Some(volume) = flow
        .makes
        .filter(|_| report.hit.is_some_and(|it| it.in_tool))
    {
        lab.check_filesystem(volume)?;
    }
    if report.hit.is_some_and(|it| it.class == Class::Change) {
        lab.restart().await;
        lab.verify().await?;
    }
    Ok(())
}

/// The same driver, without the fault.
async fn repeat(lab: &mut Lab, flow: &Flow, base: &World) -> Result<(), String> {
    if !lab.driver.is_alive() {
        let panicked = lab.driver.panics().unwrap_or_default();
        return Err(format!("{} {panicked}", lab.driver.fate()));
    }
    lab.converge(&flow.call).await?;
    lab.verify().await?;
    lab.undo(flow, base).await
}
