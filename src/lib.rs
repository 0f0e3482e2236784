//! Offshoot.
