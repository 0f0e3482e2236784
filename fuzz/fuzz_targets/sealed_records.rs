#![no_main]

offshoot_fuzz::target!("sealed_records");
