//! Mount options from users, judged by an allow-list per filesystem.
//!
//! Options reach the kernel one by one, as keys and values or as mount attributes, never as one string: `nosuid,suid`,
//! `loop`, `bind` or `logdev=` (which opens another device) have no way in.

use std::fmt;

use thiserror::Error;

use super::FsType;

/// CSI's `mount_flags`. They may be sensitive (CSI 1.13): never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MountFlags(Vec<String>);

impl MountFlags {
    /// Takes the flags out of a request; each may hold several options separated by commas.
    #[must_use]
    pub fn new(flags: &[String]) -> Self {
        let options = flags.iter().flat_map(|flag| split(flag)).map(str::trim);
        Self(
            options
                .filter(|option| !option.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

/// At the commas, but for those between quotes: SELinux contexts have some.
fn split(flag: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    flag.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

impl fmt::Debug for MountFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MountFlags({} redacted)", self.0.len())
    }
}

/// Mount options that passed the allow-list of their filesystem. `nosuid` and `nodev` always hold and are not listed.
#[derive(Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an attribute of mount_setattr(2), on or off"
)]
pub struct MountOptions {
    /// Mounted read-only.
    pub read_only: bool,
    /// Programs cannot be executed.
    pub no_exec: bool,
    /// Access times are never written.
    pub no_atime: bool,
    /// Access times of directories are never written.
    pub no_diratime: bool,
    /// Access times are always written.
    pub strict_atime: bool,
    /// Options of the filesystem itself, as the kernel's `fsconfig` takes them: sorted, without repetition.
    pub filesystem: Vec<(String, Option<String>)>,
}

impl fmt::Debug for MountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountOptions")
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// A mount option that we do not pass on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("mount option {option} is not allowed for {fs}; allowed are {allowed}")]
pub struct MountOptionError {
    option: String,
    fs: FsType,
    allowed: String,
}

/// What the value of an option may be.
#[derive(Clone, Copy)]
enum Value {
    None,
    Number,
    OneOf(&'static [&'static str]),
    /// An SELinux context, which the kubelet adds when the CSIDriver says `seLinuxMount`.
    Context,
}

/// Attributes of the mount, the same for each filesystem.
const ATTRIBUTES: &[&str] = &[
    "ro",
    "rw",
    "noexec",
    "exec",
    "noatime",
    "nodiratime",
    "relatime",
    "strictatime",
    "nosuid",
    "nodev",
    "defaults",
];

const COMMON: &[(&str, Value)] = &[
    ("context", Value::Context),
    ("lazytime", Value::None),
    ("sync", Value::None),
    ("dirsync", Value::None),
];
const EXT4: &[(&str, Value)] = &[
    ("acl", Value::None),
    ("commit", Value::Number),
    ("data", Value::OneOf(&["ordered", "journal"])),
    ("delalloc", Value::None),
    ("discard", Value::None),
    ("errors", Value::OneOf(&["remount-ro"])),
    ("nodelalloc", Value::None),
    ("nodiscard", Value::None),
    ("stripe", Value::Number),
    ("user_xattr", Value::None),
];
const XFS: &[(&str, Value)] = &[
    ("allocsize", Value::Number),
    ("discard", Value::None),
    ("inode64", Value::None),
    ("largeio", Value::None),
    ("logbsize", Value::Number),
    ("logbufs", Value::Number),
    ("nodiscard", Value::None),
    ("nouuid", Value::None),
    ("swalloc", Value::None),
];
const BTRFS: &[(&str, Value)] = &[
    ("autodefrag", Value::None),
    ("commit", Value::Number),
    ("compress", Value::OneOf(&["zlib", "lzo", "zstd", "no"])),
    ("discard", Value::OneOf(&["sync", "async"])),
    ("nodiscard", Value::None),
    ("space_cache", Value::OneOf(&["v2"])),
    ("ssd", Value::None),
];

impl MountOptions {
    /// Judges the flags of a capability for the filesystem that the volume has.
    pub fn parse(fs: FsType, flags: &MountFlags) -> Result<Self, MountOptionError> {
        let mut options = Self::default();
        for flag in &flags.0 {
            if !options.set_attribute(flag) {
                options.filesystem.push(filesystem_option(fs, flag)?);
            }
        }
        options.filesystem.sort();
        options.filesystem.dedup();
        Ok(options)
    }

    fn set_attribute(&mut self, flag: &str) -> bool {
        match flag {
            "ro" => self.read_only = true,
            "noexec" => self.no_exec = true,
            "noatime" => self.no_atime = true,
            "nodiratime" => self.no_diratime = true,
            "strictatime" => self.strict_atime = true,
            flag => return ATTRIBUTES.contains(&flag),
        }
        true
    }
}

fn filesystem_option(fs: FsType, flag: &str) -> Result<(String, Option<String>), MountOptionError> {
    let (key, value) = flag
        .split_once('=')
        .map_or((flag, None), |(key, value)| (key, Some(value)));
    let known = table(fs).chain(COMMON).find(|(name, _)| *name == key);
    let allowed = known.is_some_and(|(_, takes)| accepts(*takes, value));
    allowed
        .then(|| (key.to_owned(), value.map(unquoted)))
        .ok_or_else(|| refused(fs, key))
}

fn table(fs: FsType) -> std::slice::Iter<'static, (&'static str, Value)> {
    match fs {
        FsType::Ext4 => EXT4.iter(),
        FsType::Xfs => XFS.iter(),
        FsType::Btrfs => BTRFS.iter(),
    }
}

fn accepts(takes: Value, value: Option<&str>) -> bool {
    match (takes, value) {
        (Value::None, None) => true,
        (Value::Number, Some(value)) => is_number(value),
        (Value::OneOf(values), Some(value)) => values.contains(&value),
        // btrfs: plain `discard` and `compress` are options of their own.
        (Value::OneOf(values), None) => values.contains(&"sync") || values.contains(&"zstd"),
        (Value::Context, Some(value)) => is_context(value),
        _ => false,
    }
}

/// Digits, with the size suffix that the kernel reads.
fn is_number(value: &str) -> bool {
    let digits = value.trim_end_matches(['k', 'K', 'm', 'M']);
    value.len() - digits.len() <= 1
        && (1..=12).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The kernel takes off quotes from a line of options, but not from a single value.
fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

fn is_context(value: &str) -> bool {
    let plain = unquoted(value);
    (1..=256).contains(&plain.len())
        && plain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_:.,-".contains(&b))
}

/// Options that users ask for, and that are refused by name.
const KNOWN: &[&str] = &[
    "_netdev",
    "async",
    "auto",
    "barrier",
    "bind",
    "data",
    "dev",
    "grpquota",
    "loop",
    "noauto",
    "nobarrier",
    "nofail",
    "noload",
    "norecovery",
    "nouser",
    "pquota",
    "prjquota",
    "quota",
    "rbind",
    "remount",
    "subvol",
    "suid",
    "user",
    "users",
    "usrquota",
];

/// An option is named if it is one that the kernel or mount(8) know: anything else may be a secret in the wrong place.
fn name(key: &str) -> &str {
    let mut tables = FsType::ALL.into_iter().flat_map(table).chain(COMMON);
    if KNOWN.contains(&key) || tables.any(|(name, _)| *name == key) {
        key
    } else {
        "(not shown, because it is unknown)"
    }
}

/// Names the key only: a value may be sensitive.
fn refused(fs: FsType, key: &str) -> MountOptionError {
    let names = table(fs).chain(COMMON).map(|(name, _)| *name);
    let allowed = ATTRIBUTES
        .iter()
        .copied()
        .chain(names)
        .collect::<Vec<_>>()
        .join(", ");
    MountOptionError {
        option: name(key).to_owned(),
        fs,
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fs: FsType, flags: &str) -> Result<MountOptions, MountOptionError> {
        MountOptions::parse(fs, &MountFlags::new(&[flags.to_owned()]))
    }

    #[test]
    fn attributes_and_options_are_told_apart() {
        let options = parse(FsType::Ext4, "noatime,commit=30,discard,ro").unwrap();
        assert!(options.no_atime && options.read_only);
        assert_eq!(
            options.filesystem,
            [
                ("commit".into(), Some("30".into())),
                ("discard".into(), None)
            ]
        );
    }

    #[test]
    fn nothing_dangerous_passes_on_any_filesystem() {
        let hostile = [
            "suid",
            "dev",
            "loop",
            "loop=/dev/loop0",
            "bind",
            "rbind",
            "move",
            "remount",
            "offset=4096",
            "journal_path=/dev/sda",
            "logdev=/dev/sda",
            "rtdev=/dev/sda",
            "device=/dev/sda",
            "norecovery",
            "noload",
            "nobarrier",
            "usrquota",
            "data=writeback",
            "helper=x",
            "X-mount.mkdir",
            "commit",
            "commit=1;x",
            "errors=panic",
            "subvol=/",
            "context",
            "context=a b",
            "commit=99kk",
        ];
        for fs in FsType::ALL {
            for option in hostile {
                assert!(parse(fs, option).is_err(), "{fs} {option}");
            }
        }
    }

    #[test]
    fn debug_and_errors_never_show_a_value() {
        for flag in ["password=CANARY", "CANARY", "commit=CANARY", "CANARY=1"] {
            let flags = MountFlags::new(&[flag.to_owned()]);
            let error = MountOptions::parse(FsType::Ext4, &flags).unwrap_err();
            assert!(!format!("{flags:?} {error} {error:?}").contains("CANARY"));
        }
        let error = parse(FsType::Ext4, "commit=no").unwrap_err();
        assert!(error.to_string().contains("commit"), "{error}");
    }

    /// The kubelet gives a pod's context with two categories, as one quoted option.
    #[test]
    fn a_context_keeps_its_commas_and_loses_its_quotes() {
        let context = "system_u:object_r:container_file_t:s0:c1,c2";
        let options = parse(
            FsType::Ext4,
            &format!("noatime,context=\"{context}\",discard"),
        );
        let expected = [
            ("context".to_owned(), Some(context.to_owned())),
            ("discard".to_owned(), None),
        ];
        assert_eq!(options.unwrap().filesystem, expected);
        assert!(parse(FsType::Ext4, "context=\"a,discard").is_err());
    }
}
