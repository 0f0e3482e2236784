//! Faults that tests need and that this kernel does not offer: no device mapper, no fault injection.
//!
//! * [`Disk`] is a file whose bytes are in this process: it records every write and flush ([`Log`]), fails, or hangs. Below a
//!   loop device it is a disk with a volatile cache.
//! * [`Log`] makes the images that a power cut at any moment could leave.
//! * [`supervise`] runs a program whose system calls this process answers: refused, or said to be done without being done.
//! * [`Running`] is a program that ends with its test.
//! * [`Tripwire`] tells when a program is started that must not be.
//!
//! * [`setting`] is how long a run of tests is to be.
//!
//! Only tests use this crate; the product does not depend on it. Faults need root.

mod disk;
mod fuse;
mod image;
mod log;
mod random;
mod running;
mod setting;
mod supervisor;
mod tripwire;

pub use disk::{Disk, Fault};
pub use image::Image;
pub use log::{Cut, Log, Loss, Replay};
pub use random::Random;
pub use running::Running;
pub use setting::setting;
pub use supervisor::{Answer, Call, Program, Watched, supervise};
pub use tripwire::{Tripwire, private_mounts};
