#![no_main]

offshoot_fuzz::target!("target_paths");
