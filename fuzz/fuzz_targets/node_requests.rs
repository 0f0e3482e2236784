#![no_main]

offshoot_fuzz::target!("node_requests");
