#![no_main]

offshoot_fuzz::target!("mount_options");
