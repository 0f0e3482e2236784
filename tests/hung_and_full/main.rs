//! Disks that hang, pools that are full, and limits that are reached: nothing is said to be done that is not, Probe answers
//! throughout, other volumes go on, and everything works again, without a restart, when the cause is gone. Needs root; says
//! so otherwise.

#[path = "../machine/mod.rs"]
mod machine;

mod full;
mod hung;
mod limits;
mod world;
