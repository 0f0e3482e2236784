//! Loop devices, by ioctl. A device is known by what is behind it, never by its name alone.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use thiserror::Error;

use super::loop_ioctl as ioctl;
use crate::volume::{Bytes, Device, DeviceNumber};

/// The major number of loop devices.
const LOOP_MAJOR: u32 = 7;
/// How often another process may be quicker.
const ATTEMPTS: usize = 64;
/// How long to wait between attempts. The kernel offers the same device until it is taken.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(1);
/// How long a device that is to be freed may stay open elsewhere.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// How a file is put behind a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of the device, on or off"
)]
pub(crate) struct LoopOptions {
    /// The device refuses writes.
    pub(crate) read_only: bool,
    /// The device lets go of its file when nobody holds it any more.
    pub(crate) autoclear: bool,
    /// The device passes the page cache by, where the filesystem below allows it.
    pub(crate) direct_io: bool,
    /// The device must offer discard, where the filesystem below can do it.
    pub(crate) discard: bool,
    /// The size of its sectors: 512 or 4096.
    pub(crate) block_size: u32,
}

/// Why a file is not behind a device.
#[derive(Debug, Error)]
pub(crate) enum AttachError {
    /// The kernel has no free device, or other processes take each one first.
    #[error("there is no free loop device")]
    NoneFree,
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the system refused.
#[derive(Debug, Error)]
#[error("{0}")]
struct Explained(String, #[source] Errno);

/// Which incarnation of which device; what is remembered to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopHint {
    /// `/dev/loop<number>`.
    pub(crate) number: u32,
    /// The kernel's sequence number of it, if that was reached.
    pub(crate) sequence: Option<u64>,
}

/// An open loop device with a known file behind it. While it is open, nothing else can come behind it.
pub(crate) struct LoopDevice {
    node: OwnedFd,
    number: u32,
    flags: u32,
}

/// Hands out free devices one at a time: the kernel's answer to "which is free" is stale when two ask.
#[derive(Default)]
pub(crate) struct LoopControl(Mutex<()>);

impl LoopControl {
    /// Puts `backing` behind a free device. `remember` is called with the device before, so that it is found again after
    /// a crash at any moment, and again with its sequence number.
    pub(crate) fn attach(
        &self,
        backing: &File,
        options: LoopOptions,
        remember: impl Fn(LoopHint) -> io::Result<()>,
    ) -> Result<LoopDevice, AttachError> {
        let _one_at_a_time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let control = open(
            "/dev/loop-control",
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| explained("open /dev/loop-control", error))?;
        for _ in 0..ATTEMPTS {
            let number = match ioctl::get_free(&control) {
                Err(Errno::NOSPC) => return Err(AttachError::NoneFree),
                number => number.map_err(|error| explained("find a free loop device", error))?,
            };
            remember(LoopHint {
                number,
                sequence: None,
            })?;
            match configure(number, backing, options) {
                Ok(device) if options.discard && device.lost_discard()? => {
                    // The next free device is another one, unless somebody holds this one open: then it is tried again.
                    device.clear()?;
                    match ioctl::remove(&control, number) {
                        Ok(()) | Err(Errno::BUSY) => {}
                        Err(error) => return Err(explained("remove a loop device", error).into()),
                    }
                }
                Ok(device) => {
                    let sequence = ioctl::disk_sequence(&device.node).ok();
                    remember(LoopHint { number, sequence })?;
                    return Ok(device);
                }
                // Somebody was quicker, or an unmounted filesystem is just letting go of it.
                Err(Errno::BUSY | Errno::NXIO) => sleep(ATTEMPT_INTERVAL),
                Err(error) => {
                    return Err(explained(&format!("configure /dev/loop{number}"), error).into());
                }
            }
        }
        Err(AttachError::NoneFree)
    }
}

fn explained(what: &str, error: Errno) -> io::Error {
    let kind = io::Error::from(error).kind();
    io::Error::new(kind, Explained(what.to_owned(), error))
}

fn configure(number: u32, backing: &File, options: LoopOptions) -> Result<LoopDevice, Errno> {
    let access = if options.read_only {
        OFlags::RDONLY
    } else {
        OFlags::RDWR
    };
    let node = open(node_path(number), access | OFlags::CLOEXEC, Mode::empty())?;
    let flags = [
        (options.read_only, ioctl::LO_FLAGS_READ_ONLY),
        (options.autoclear, ioctl::LO_FLAGS_AUTOCLEAR),
        (options.direct_io, ioctl::LO_FLAGS_DIRECT_IO),
    ];
    let flags = flags
        .iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |all, (_, flag)| all | flag);
    ioctl::configure(&node, backing.as_fd(), options.block_size, flags)?;
    Ok(LoopDevice {
        node,
        number,
        flags,
    })
}

impl LoopDevice {
    /// The device that `hint` names, if `backing` is behind it in this very incarnation.
    pub(crate) fn find(hint: LoopHint, backing: &File) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let node = match open(node_path(hint.number), flags, Mode::empty()) {
            Ok(node) => node,
            // No such device here, or none that we may open: then nothing of ours is behind it in this container.
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::ACCESS | Errno::PERM) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let behind = match ioctl::status(&node) {
            Ok(behind) => behind,
            Err(Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = backing.metadata()?;
        let sequence = ioctl::disk_sequence(&node).ok();
        let same_incarnation =
            hint.sequence.is_none() || sequence.is_none() || hint.sequence == sequence;
        let ours = behind.device == file.dev() && behind.inode == file.ino() && same_incarnation;
        Ok(ours.then_some(Self {
            node,
            number: hint.number,
            flags: behind.flags,
        }))
    }

    /// The device as the kernel sees it now.
    pub(crate) fn device(&self) -> io::Result<Device> {
        Ok(Device {
            path: node_path(self.number),
            number: DeviceNumber {
                major: LOOP_MAJOR,
                minor: self.number,
            },
            size: Bytes(ioctl::size(&self.node)?),
            read_only: self.is_read_only(),
        })
    }

    /// The device refuses writes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.flags & ioctl::LO_FLAGS_READ_ONLY != 0
    }

    /// The device lets go of its file when nobody holds it any more.
    pub(crate) fn is_autoclear(&self) -> bool {
        self.flags & ioctl::LO_FLAGS_AUTOCLEAR != 0
    }

    /// Gives the device the present size of its file.
    pub(crate) fn refresh(&self) -> io::Result<()> {
        Ok(ioctl::set_capacity(&self.node)?)
    }

    /// Syncs the filesystem that is mounted from it, and what is cached for it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(ioctl::flush(&self.node)?)
    }

    /// Lets go of the file. `false`: somebody has the device open, and the kernel waits for the last close.
    pub(crate) fn clear(self) -> io::Result<bool> {
        let before = match ioctl::status(&self.node) {
            Ok(before) => before,
            Err(Errno::NXIO) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        match ioctl::clear(&self.node) {
            Ok(()) | Err(Errno::NXIO) => {}
            Err(Errno::BUSY) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let number = self.number;
        drop(self);
        // Whoever looks at new and changed devices (udev, blkid) has them open for a moment.
        let deadline = Instant::now() + CLOSE_LIMIT;
        while is_behind(number, &before) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(Duration::from_millis(2));
        }
        Ok(true)
    }

    /// Switches direct IO. Where the filesystem below has none, the page cache stays.
    pub(crate) fn set_direct_io(&self, direct: bool) -> io::Result<()> {
        match ioctl::set_direct_io(&self.node, direct) {
            Err(Errno::INVAL) if direct => Ok(()),
            result => Ok(result?),
        }
    }

    /// Sets the read-ahead.
    pub(crate) fn set_read_ahead(&self, kib: u32) -> io::Result<()> {
        self.write_setting("read_ahead_kb", kib.into())
    }

    /// Offers no discard any more. There is no way back: once it is 0, the kernel refuses every other value for as long
    /// as the device exists (its granularity becomes 0 too), also when it gets another file.
    pub(crate) fn forbid_discard(&self) -> io::Result<()> {
        if self.read_setting("discard_max_bytes")? == 0 {
            return Ok(());
        }
        self.write_setting("discard_max_bytes", 0)
    }

    /// Discard was forbidden for an earlier file of this device.
    fn lost_discard(&self) -> io::Result<bool> {
        Ok(self.read_setting("discard_max_bytes")? == 0
            && self.read_setting("discard_max_hw_bytes")? > 0)
    }

    /// Sectors written so far, and requests on their way: what shows whether anybody writes.
    pub(crate) fn write_activity(&self) -> io::Result<(u64, u64)> {
        let path = format!("/sys/block/loop{}/stat", self.number);
        let text = fs::read_to_string(&path)?;
        let field = |index: usize| text.split_whitespace().nth(index)?.parse().ok();
        // Documentation/block/stat.rst: 7th field sectors written, 9th requests in flight.
        field(6)
            .zip(field(8))
            .ok_or_else(|| io::Error::other(format!("{path} has no such fields")))
    }

    fn setting(&self, name: &str) -> PathBuf {
        Path::new(&format!("/sys/block/loop{}/queue", self.number)).join(name)
    }

    fn read_setting(&self, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.setting(name))?;
        text.trim().parse().map_err(io::Error::other)
    }

    fn write_setting(&self, name: &str, value: u64) -> io::Result<()> {
        let path = self.setting(name);
        fs::write(&path, value.to_string()).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("write {value} to {}: {error}", path.display()),
            )
        })
    }
}

/// Whether `before` is still what is behind the device; another volume may have got it by now.
fn is_behind(number: u32, before: &ioctl::LoopInfo) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let behind = open(node_path(number), flags, Mode::empty()).and_then(|it| ioctl::status(&it));
    behind.is_ok_and(|it| (it.device, it.inode) == (before.device, before.inode))
}

fn node_path(number: u32) -> PathBuf {
    format!("/dev/loop{number}").into()
}
