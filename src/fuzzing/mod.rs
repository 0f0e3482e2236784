//! What hostile input reaches, as functions of bytes: for `fuzz/` and `tests/fuzz_targets.rs`, not for the driver.
//!
//! Each target takes any bytes. It must not panic, and asserts what holds of everything that our parsers let through.

mod files;
mod requests;
mod values;

pub use requests::{Message, message};

/// A function of bytes, and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 14] = [
    ("controller_requests", requests::controller),
    ("node_requests", requests::node),
    ("group_requests", requests::group),
    ("records", files::record),
    ("sealed_records", files::sealed_record),
    ("superblocks", files::superblock),
    ("translate", files::translate),
    ("drift", files::drift),
    ("mount_options", values::mount_options),
    ("target_paths", values::target_path),
    ("ids", values::ids),
    ("capacities", values::capacity),
    ("settings", values::settings),
    ("endpoints", values::endpoint),
];
