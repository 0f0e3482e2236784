//! Linux, by system call.
