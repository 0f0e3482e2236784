//! Bugs that were found at one system call, each with its story.

use nix::errno::Errno;
use tonic::Code;

use crate::kill::kill;
use crate::lab::Lab;
use crate::machine::is_root;
use crate::planted::at;
use crate::refuse::suffer;
use crate::script::Contents;
use crate::tracer::{Action, Fault, Select};

/// Makes the call with one system call failing, and again without.
async fn converges(flow: &str, select: Select, lasting: bool) {
    let mut lab = Lab::new("xfs", Contents::Block).await;
    let flow = at(&mut lab, flow).await;
    let fault = Fault {
        select,
        action: Action::Fail {
            errno: Errno::EIO,
            in_tool: false,
        },
        lasting,
    };
    let answered = suffer(&mut lab, &flow, fault, |_| true).await;
    assert_eq!(answered, Ok(Code::Internal));
}

/// The volume had its name when the sync of its directory failed: repeated, the call found it and answered OK, but the
/// driver's index did not know it.
#[tokio::test]
async fn a_volume_whose_last_sync_failed_is_made_anew() {
    if is_root() {
        converges("create", Select::Named("fsync", 1), false).await;
    }
}

/// Likewise a snapshot: it was told to be damaged, until the driver was started again.
#[tokio::test]
async fn a_snapshot_whose_last_sync_failed_is_made_anew() {
    if is_root() {
        converges("snapshot", Select::Named("fsync", 2), false).await;
    }
}

/// Likewise a group, whose members were removed though the group had its name.
#[tokio::test]
async fn a_group_whose_last_sync_failed_is_made_anew() {
    if is_root() {
        converges("group snapshot", Select::Named("fsync", 6), false).await;
    }
}

/// The first member was gone and the second could not be removed: repeated, the call did not find the group any more, and
/// answered OK.
#[tokio::test]
async fn a_group_that_was_deleted_by_half_is_deleted() {
    if is_root() {
        converges("delete group", Select::Named("unlinkat", 2), false).await;
    }
}

/// What cannot be looked at seems to be a dead mount, and was unmounted for ever.
#[tokio::test]
async fn a_path_that_cannot_be_looked_at_is_not_unmounted_for_ever() {
    if is_root() {
        converges("node unpublish", Select::Named("statx", 3), true).await;
    }
}

/// The ledger was being written when the driver was killed, and its caller did not come again: a file was left for ever.
#[tokio::test]
async fn a_ledger_that_was_not_finished_is_removed() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new("xfs", Contents::Block).await;
    let flow = at(&mut lab, "node publish").await;
    let base = lab.world.clone();
    let at = (Select::Named("rename", 0), Action::Kill);
    let report = kill(&mut lab, &flow, at).await.expect("nothing untrue");
    assert!(report.hit.is_some(), "the ledger is renamed");
    assert_eq!(lab.undo(&flow, &base).await, Ok(()));
}
