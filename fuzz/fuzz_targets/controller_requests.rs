#![no_main]

offshoot_fuzz::target!("controller_requests");
