//! Ext4 volumes are copies of template images with an identity of their own: each must be a sound filesystem that differs
//! from all others. Needs root; says so otherwise. `TEMPLATES_SEED` plays the sizes of a run that failed again.

mod machine;

use std::collections::HashSet;
use std::time::SystemTime;

use faultlab::{Random, setting};
use machine::{Machine, is_root, new_volume, tool};
use offshoot::backend::file::FileBackend;
use offshoot::backend::{Backend, NewContents, NewVolume};
use offshoot::volume::{Bytes, Contents, FsType, Provisioning};

const UNIT: u64 = 4096;
const GIB: u64 = 1 << 30;
/// One volume in so many is mounted by the kernel too.
const MOUNTED: usize = 10;

/// Of any order of magnitude, from the least that a filesystem takes to `largest`.
fn size(random: &mut Random, largest: u64) -> Bytes {
    let least = FsType::Ext4.minimum_size().0;
    let magnitudes = (largest / least).ilog2() + 1;
    let magnitude = least << random.below(u64::from(magnitudes));
    let size = magnitude + random.below(magnitude);
    Bytes((size.min(largest) / UNIT) * UNIT)
}

/// Makes a volume and looks at what is in its file with the tools of e2fsprogs; its UUID.
async fn check(backend: &FileBackend, machine: &Machine, new: NewVolume, mount: bool) -> String {
    let size = new.size;
    let volume = backend.create_volume(new).await.expect("it is made");
    let Contents::Filesystem { uuid, .. } = volume.contents else {
        panic!("it has a filesystem");
    };
    let image = machine.volume_file(&volume.id).display().to_string();
    let sound = || assert!(tool("e2fsck", &["-fn", &image]), "{image}, {size}");
    sound();
    let same = format!("test $(blkid -p -o value -s UUID {image}) = {uuid}");
    assert!(tool("sh", &["-c", &same]), "{image} has another UUID");
    let backups = format!(
        "dumpe2fs {image} | sed -n 's/.*Backup superblock at \\([0-9]*\\),.*/\\1/p' | while read at; do \
         dumpe2fs -h -o superblock=$at -o blocksize=4096 {image} | grep -q 'UUID: *{uuid}' || exit 1; done"
    );
    let alike = tool("sh", &["-c", &backups]);
    assert!(alike, "the backups of the superblock in {image}, {size}");
    if mount {
        let at = machine.path("kubelet");
        let write = format!(
            "mount -o loop {image} {at} && echo x > {at}/file && sync -f {at}/file && umount {at}"
        );
        assert!(
            tool("sh", &["-c", &write]),
            "the kernel mounts {image}, {size}"
        );
        sound();
    }
    backend
        .delete_volume(&volume.id)
        .await
        .expect("it is removed");
    uuid
}

/// Some 300 volumes from our smallest to 10 GiB: copied sparsely and by sharing extents; each size as the first copy of its
/// template and as a later one.
#[tokio::test]
async fn copies_of_templates_are_sound_and_differ() {
    if !is_root() {
        return;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = setting("TEMPLATES_SEED", now.map_or(1, |now| now.as_secs()));
    eprintln!("TEMPLATES_SEED={seed}");
    let mut random = Random::new(seed);
    let mut uuids = HashSet::new();
    let places = [
        (Machine::new(), 10 * GIB, 100),
        (Machine::on("xfs"), 6 * GIB, 50),
    ];
    for (machine, largest, sizes) in places {
        let backend = machine.backend();
        let capacity = backend.capacity(Provisioning::Thin).await;
        let largest = largest.min(capacity.expect("it is known").maximum_volume_size.0);
        for number in 0..sizes {
            let size = match number {
                0 => FsType::Ext4.minimum_size(),
                1 => Bytes(largest),
                _ => size(&mut random, largest),
            };
            for copy in ["first", "second"] {
                let name = format!("{number}-{copy}");
                let contents = NewContents::Filesystem(FsType::Ext4);
                let new = NewVolume {
                    size,
                    ..new_volume(&name, contents, 0)
                };
                let mount = uuids.len() % MOUNTED == 0;
                let uuid = check(&backend, &machine, new, mount).await;
                assert!(uuids.insert(uuid), "every copy has its own UUID");
            }
        }
    }
    assert_eq!(uuids.len(), 300);
}
