//! Volumes that were formatted and written to, and the proof that they stay so whatever becomes of their bytes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faultlab::{Disk, Fault, Random, Tripwire};
use offshoot::backend::file::FileBackend;
use offshoot::backend::{Backend, BackendError, NewContents};
use offshoot::error_chain;
use offshoot::node::NodePlugin;
use offshoot::volume::{AccessMode, FsType, Volume};
use rustix::io::Errno;

use super::damage::{Damage, Fingerprint, superblock};
use super::machine::{Machine, Pod, mount_capability, new_volume, tool};

const MARKER: &str = "acknowledged";

/// What stages: the driver, or something with a bug.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stager {
    Driver,
    /// As many drivers do: what could not be mounted is taken for blank.
    FormatsWhatItCannotMount,
}

/// A volume, and its bytes as they were after it was used.
pub(crate) struct Subject {
    fs: FsType,
    mib: u64,
    volume: Volume,
    file: PathBuf,
    pristine: PathBuf,
}

pub(crate) struct Lab<'a> {
    node: NodePlugin,
    backend: Arc<FileBackend>,
    subjects: Vec<Subject>,
    machine: &'a Machine,
}

/// How often what came out.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) refused: u64,
    pub(crate) mounted: u64,
}

impl<'a> Lab<'a> {
    /// One volume of each filesystem, used once.
    pub(crate) async fn new(machine: &'a Machine) -> Self {
        let backend = machine.backend();
        let node = machine.node(backend.clone());
        let mut lab = Self {
            node,
            backend,
            subjects: Vec::new(),
            machine,
        };
        for (fs, mib) in [(FsType::Ext4, 16), (FsType::Xfs, 300), (FsType::Btrfs, 128)] {
            let new = new_volume(fs.as_str(), NewContents::Filesystem(fs), mib);
            let volume = lab.backend.create_volume(new).await.expect("it is made");
            let file = lab.machine.volume_file(&volume.id);
            let pristine = PathBuf::from(lab.machine.path(&format!("data/{fs}")));
            let subject = Subject {
                fs,
                mib,
                volume,
                file,
                pristine,
            };
            lab.use_once(&subject).await;
            lab.subjects.push(subject);
        }
        lab
    }

    async fn use_once(&self, subject: &Subject) {
        let pod = self.pod(subject);
        pod.stage().await.expect("it is staged");
        let marker = self.machine.path("kubelet/staging/marker");
        fs::write(&marker, MARKER).expect("it is written");
        File::open(&marker)
            .and_then(|it| it.sync_all())
            .expect("it is synced");
        pod.unstage().await.expect("it is unstaged");
        let path = subject.file.display().to_string();
        assert!(tool("fallocate", &["--dig-holes", &path]));
        let copy = subject.pristine.display().to_string();
        assert!(tool("cp", &["--reflink=always", &path, &copy]));
    }

    fn pod<'b>(&'b self, subject: &'b Subject) -> Pod<'b> {
        Pod {
            machine: self.machine,
            node: &self.node,
            volume: &subject.volume,
            capability: mount_capability(AccessMode::SingleNodeWriter),
        }
    }

    /// Damages a volume and stages it: it must be refused and stay as it is, or be mounted as what it was.
    pub(crate) async fn attempt(
        &self,
        random: &mut Random,
        stager: Stager,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let subject = &self.subjects[[0, 0, 0, 0, 1, 1, 2][random.index(7)]];
        let size = subject.mib << 20;
        let damage = Damage::choose(random, subject.fs, size);
        let file = subject.restored();
        let other = |fs| {
            let other = self
                .subjects
                .iter()
                .find(|it| it.fs == fs)
                .expect("there is one of each");
            File::open(&other.pristine).expect("it opens")
        };
        damage.inflict(&file, random, other).expect("it is damaged");
        drop(file);
        let failed = |what: String| Err(format!("{} after {damage:?}: {what}", subject.fs));
        let before = Fingerprint::of(&subject.file).expect("it is read");
        // The CO asks again for what it has: nothing is made anew.
        let again = new_volume(
            subject.fs.as_str(),
            NewContents::Filesystem(subject.fs),
            subject.mib,
        );
        match self.backend.create_volume(again).await {
            Err(BackendError::VolumeExists(_)) => {}
            other => return failed(format!("creating it again gave {other:?}")),
        }
        let identity = subject.identity(&subject.file);
        if let Err(why) = self.stage(subject, stager).await {
            tally.refused += 1;
            let after = Fingerprint::of(&subject.file).expect("it is read");
            let changed = before.difference(&after);
            let by_kernel = subject.changed_by_kernel();
            let expected = changed.iter().all(|it| by_kernel.contains(it) || *it == 0);
            if !changed.is_empty()
                && (!expected
                    || by_kernel.is_empty()
                    || identity != subject.identity(&subject.file))
            {
                return failed(format!("refused ({why}), and yet changed at {changed:?}"));
            }
            return Ok(());
        }
        tally.mounted += 1;
        let found = self.look(subject);
        let unstaged = self.pod(subject).unstage().await;
        found.or_else(failed)?;
        if let Err(error) = unstaged {
            return failed(format!("it is not unstaged: {}", error_chain(&error)));
        }
        if subject.identity(&subject.file) != subject.identity(&subject.pristine) {
            return failed("it has another identity".to_owned());
        }
        Ok(())
    }

    /// Stages every volume while its disk cannot be read, and while it does not answer: an error, or a wait, and every byte
    /// is there afterwards.
    pub(crate) async fn with_failing_disk(&self, disk: &Disk) -> Result<u32, String> {
        let mut refused = 0;
        for subject in &self.subjects {
            let before = Fingerprint::of(&subject.file).expect("it is read");
            for error in [Errno::IO, Errno::NXIO, Errno::NODATA, Errno::MFILE] {
                disk.fail(Fault::Read(error));
                let staged = self.stage(subject, Stager::Driver).await;
                disk.heal();
                if staged.is_ok() {
                    return Err(format!("{} was mounted without being read", subject.fs));
                }
                refused += 1;
            }
            disk.hang();
            let resume = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                disk.resume();
            };
            let (staged, ()) = tokio::join!(self.stage(subject, Stager::Driver), resume);
            staged?;
            let found = self.look(subject);
            self.pod(subject)
                .unstage()
                .await
                .map_err(|error| error_chain(&error))?;
            found?;
            let hidden = subject.file.with_extension("hidden");
            fs::rename(&subject.file, &hidden).expect("it is hidden");
            let staged = self.stage(subject, Stager::Driver).await;
            fs::rename(&hidden, &subject.file).expect("it is back");
            if staged.is_ok() {
                return Err(format!("{} was staged without its file", subject.fs));
            }
            refused += 1;
            let after = Fingerprint::of(&subject.file).expect("it is read");
            if subject.identity(&subject.file) != subject.identity(&subject.pristine) {
                let changed = before.difference(&after);
                return Err(format!(
                    "{} has another identity, at {changed:?}",
                    subject.fs
                ));
            }
        }
        Ok(refused)
    }

    async fn stage(&self, subject: &Subject, stager: Stager) -> Result<(), String> {
        let pod = self.pod(subject);
        let first = pod.stage().await.map_err(|error| error_chain(&error));
        if first.is_ok() || stager == Stager::Driver {
            return first;
        }
        let path = subject.file.display().to_string();
        let offshoot::volume::Contents::Filesystem { uuid, .. } = &subject.volume.contents else {
            return first;
        };
        let formatted = match subject.fs {
            FsType::Ext4 => tool("mkfs.ext4", &["-q", "-F", "-b", "4096", "-U", uuid, &path]),
            FsType::Xfs => tool(
                "mkfs.xfs",
                &[
                    "-q",
                    "-f",
                    "-s",
                    "size=4096",
                    "-m",
                    &format!("uuid={uuid}"),
                    &path,
                ],
            ),
            FsType::Btrfs => tool("mkfs.btrfs", &["-q", "-f", "-U", uuid, &path]),
        };
        if !formatted {
            return first;
        }
        pod.stage().await.map_err(|error| error_chain(&error))
    }

    /// The staged volume is the one that was written to. Damaged bytes may give an error, but not an empty filesystem.
    fn look(&self, subject: &Subject) -> Result<(), String> {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("a table");
        let staging = self.machine.path("kubelet/staging");
        let of = format!(" - {} ", subject.fs);
        if !table
            .lines()
            .any(|it| it.contains(&staging) && it.contains(&of))
        {
            return Err(format!("no {} is mounted", subject.fs));
        }
        match fs::read(format!("{staging}/marker")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err("what was written is gone".to_owned())
            }
            Ok(bytes) if bytes.len() != MARKER.len() => {
                Err("what was written has another length".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Subject {
    /// The file with its bytes as they were.
    fn restored(&self) -> File {
        let file = OpenOptions::new().read(true).write(true).open(&self.file);
        let file = file.expect("it opens");
        let pristine = File::open(&self.pristine).expect("it opens");
        file.set_len(0).expect("it is emptied");
        rustix::fs::ioctl_ficlone(&file, &pristine).expect("it is cloned");
        file
    }

    /// The journal of XFS: a mount clears a part of it, and writes the superblock (block 0), before it looks at the rest and
    /// may fail. Other filesystems change nothing then.
    fn changed_by_kernel(&self) -> std::ops::Range<u64> {
        if self.fs != FsType::Xfs {
            return 0..0;
        }
        let mut superblock = [0; 512];
        let file = File::open(&self.pristine).expect("it opens");
        file.read_exact_at(&mut superblock, 0).expect("it is read");
        let number = |at: usize, length: usize| {
            let bytes = superblock[at..at + length].iter();
            bytes.fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
        };
        // sb_logstart is a group's number and a block in it; sb_agblocks, sb_agblklog and sb_logblocks.
        let (start, blocks, shift) = (number(48, 8), number(84, 4), number(124, 1));
        let first = (start >> shift) * blocks + (start & ((1 << shift) - 1));
        first..first + number(96, 4)
    }

    /// What only a mkfs changes: the UUID, and with ext4 also when it was made.
    fn identity(&self, path: &std::path::Path) -> Vec<u8> {
        let (start, _) = superblock(self.fs);
        let places: &[(u64, usize)] = match self.fs {
            FsType::Ext4 => &[(0x68, 16), (0x108, 4)],
            FsType::Xfs | FsType::Btrfs => &[(32, 16)],
        };
        let file = File::open(path).expect("it opens");
        let read = |(at, length): &(u64, usize)| {
            let mut bytes = vec![0; *length];
            file.read_exact_at(&mut bytes, start + at)
                .expect("it is read");
            bytes
        };
        places.iter().flat_map(read).collect()
    }
}

/// What makes or wipes filesystems.
pub(crate) fn tripwire(machine: &Machine) -> Tripwire {
    let programs = [
        "mkfs.ext4",
        "mkfs.xfs",
        "mkfs.btrfs",
        "e2fsck",
        "resize2fs",
        "wipefs",
    ];
    let directories = ["/usr/sbin", "/sbin", "/usr/bin"];
    let found = programs.iter().filter_map(|program| {
        let paths = directories.iter().map(|it| format!("{it}/{program}"));
        paths.into_iter().find(|it| fs::exists(it).unwrap_or(false))
    });
    let found: Vec<String> = found.collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    Tripwire::over(&found, machine.dir.path()).expect("it is set")
}
