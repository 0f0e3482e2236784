//! The part of the FUSE protocol that a filesystem needs which is one file (linux/fuse.h). The file is the root.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// The largest write that the kernel may send.
const MAX_WRITE: u32 = 1 << 20;
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const MODE: u32 = 0o100_600;
/// The requests that reach the disk.
const READ: u32 = 15;
const WRITE: u32 = 16;
const FSYNC: u32 = 20;
const FALLOCATE: u32 = 43;

/// What the kernel asks of the file.
pub(crate) enum Request<'a> {
    Read { offset: u64, length: usize },
    Write { offset: u64, bytes: &'a [u8] },
    Discard { offset: u64, length: u64 },
    Sync,
}

/// The kernel's end of a mounted file.
pub(crate) struct Connection {
    device: File,
    size: u64,
}

impl Connection {
    /// Mounts a file of `size` bytes over the file at `path`.
    pub(crate) fn mount(path: &Path, size: u64) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device: OwnedFd = open("/dev/fuse", flags, Mode::empty())?;
        let options = format!(
            "fd={},rootmode={MODE:o},user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let options = CString::new(options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("faultlab", path, "fuse.faultlab", flags, options.as_c_str())?;
        Ok(Self {
            device: device.into(),
            size,
        })
    }

    /// Answers requests by `answer` until the file is unmounted. `answer` may take its time: what does not touch the disk is
    /// answered meanwhile, as the kernel would from memory.
    pub(crate) fn serve(
        &self,
        mut answer: impl FnMut(Request<'_>) -> Result<Vec<u8>, Errno> + Send,
    ) {
        let (to_disk, requests) = mpsc::channel::<Vec<u8>>();
        thread::scope(|scope| {
            // One thread: requests reach the disk in the order in which they came.
            scope.spawn(move || {
                for message in requests {
                    self.reply(&message, &mut answer);
                }
            });
            let mut buffer = vec![0; MAX_WRITE as usize + 8192];
            loop {
                let length = match (&self.device).read(&mut buffer) {
                    Ok(length) if length >= IN_HEADER => length,
                    Err(error) if is_transient(&error) => continue,
                    _ => return drop(to_disk),
                };
                let message = &buffer[..length];
                if matches!(u32_at(message, 4), READ | WRITE | FSYNC | FALLOCATE) {
                    // It takes requests until the channel closes.
                    let _ = to_disk.send(message.to_vec());
                } else {
                    self.reply(message, &mut |_| Err(Errno::NOSYS));
                }
            }
        });
    }

    fn reply(
        &self,
        message: &[u8],
        answer: &mut impl FnMut(Request<'_>) -> Result<Vec<u8>, Errno>,
    ) {
        if let Some(reply) = self.handle(message, answer) {
            // An error means that nobody waits for the answer any more.
            let _ = (&self.device).write(&frame(u64_at(message, 8), &reply));
        }
    }

    /// The reply to one message; `None` where none is expected.
    fn handle(
        &self,
        message: &[u8],
        answer: &mut impl FnMut(Request<'_>) -> Result<Vec<u8>, Errno>,
    ) -> Option<Result<Vec<u8>, Errno>> {
        let body = &message[IN_HEADER..];
        let reply = match u32_at(message, 4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // GETATTR, SETATTR
            3 | 4 => Ok(self.attributes()),
            // OPEN: past the page cache (FOPEN_DIRECT_IO), so that every request of the loop device comes here.
            14 => Ok([&[0; 8][..], &1_u32.to_le_bytes(), &[0; 4]].concat()),
            READ => answer(Request::Read {
                offset: u64_at(body, 8),
                length: u32_at(body, 16) as usize,
            }),
            WRITE => {
                let bytes = &body[40..40 + u32_at(body, 16) as usize];
                let offset = u64_at(body, 8);
                answer(Request::Write { offset, bytes })
                    .map(|_| [&u32_at(body, 16).to_le_bytes()[..], &[0; 4]].concat())
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            FSYNC => answer(Request::Sync),
            // RELEASE, FLUSH, DESTROY
            18 | 25 | 38 => Ok(Vec::new()),
            26 => Ok(init()),
            FALLOCATE => answer(Request::Discard {
                offset: u64_at(body, 8),
                length: u64_at(body, 16),
            }),
            _ => Err(Errno::NOSYS),
        };
        Some(reply)
    }

    /// `struct fuse_attr_out`
    fn attributes(&self) -> Vec<u8> {
        let mut out = vec![0; 104];
        put_u64(&mut out, 16, 1);
        put_u64(&mut out, 24, self.size);
        put_u64(&mut out, 32, self.size / 512);
        put_u32(&mut out, 76, MODE);
        put_u32(&mut out, 80, 1);
        put_u32(&mut out, 96, 4096);
        out
    }
}

/// `struct fuse_init_out` of protocol 7.31
fn init() -> Vec<u8> {
    const MAX_PAGES: u32 = 1 << 22;
    const BIG_WRITES: u32 = 1 << 5;
    let mut out = vec![0; 64];
    put_u32(&mut out, 0, 7);
    put_u32(&mut out, 4, 31);
    put_u32(&mut out, 8, MAX_WRITE);
    put_u32(&mut out, 12, MAX_PAGES | BIG_WRITES);
    out[16..18].copy_from_slice(&64_u16.to_le_bytes());
    out[18..20].copy_from_slice(&48_u16.to_le_bytes());
    put_u32(&mut out, 20, MAX_WRITE);
    put_u32(&mut out, 24, 1);
    out[28..30].copy_from_slice(&256_u16.to_le_bytes());
    out
}

/// A reply with its header.
fn frame(unique: u64, reply: &Result<Vec<u8>, Errno>) -> Vec<u8> {
    let (error, body): (i32, &[u8]) = match reply {
        Ok(body) => (0, body),
        Err(error) => (-error.raw_os_error(), &[]),
    };
    let length = u32::try_from(OUT_HEADER + body.len()).unwrap_or(u32::MAX);
    [
        &length.to_le_bytes()[..],
        &error.to_le_bytes(),
        &unique.to_le_bytes(),
        body,
    ]
    .concat()
}

/// The request was taken back, or a signal came.
fn is_transient(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOENT | Errno::INTR | Errno::AGAIN))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
