//! What the node's operating system does for us.

pub mod linux;
