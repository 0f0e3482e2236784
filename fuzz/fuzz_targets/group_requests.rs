#![no_main]

offshoot_fuzz::target!("group_requests");
