//! Paths that the kubelet hands us.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::Shown;

/// A path strictly below the kubelet's directory: absolute, without `.` and `..`, kept relative to that directory.
///
/// This is the lexical half of the check; the host resolves the path beneath the directory's handle, without symlinks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetPath {
    root: PathBuf,
    relative: PathBuf,
}

/// Why a path is no [`TargetPath`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetPathError {
    /// Not absolute.
    #[error("{0} is not an absolute path")]
    Relative(String),
    /// Longer than the system's limit.
    #[error("the path has {0} bytes, the system allows 4095")]
    TooLong(usize),
    /// With `..`, `.` or a control character in it.
    #[error("{0} is not a plain path")]
    NotPlain(String),
    /// Elsewhere.
    #[error("{path} is not below the kubelet's directory {root:?} (--kubelet-dir)")]
    Outside {
        /// The path.
        path: String,
        /// The kubelet's directory.
        root: PathBuf,
    },
}

impl TargetPath {
    /// Checks `path`, which must lie below `root`.
    pub fn parse(root: &Path, path: &str) -> Result<Self, TargetPathError> {
        if path.len() > 4095 {
            return Err(TargetPathError::TooLong(path.len()));
        }
        let shown = || Shown(path).to_string();
        if !path.starts_with('/') {
            return Err(TargetPathError::Relative(shown()));
        }
        let dots = path.split('/').any(|part| part == "." || part == "..");
        if dots || path.contains(char::is_control) {
            return Err(TargetPathError::NotPlain(shown()));
        }
        let relative = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        if relative.components().next().is_none() {
            return Err(TargetPathError::Outside {
                path: shown(),
                root: root.to_owned(),
            });
        }
        let plain: PathBuf = relative
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        Ok(Self {
            root: root.to_owned(),
            relative: plain,
        })
    }

    /// The kubelet's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path below that directory; never empty.
    #[must_use]
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// The whole path.
    #[must_use]
    pub fn to_path_buf(&self) -> PathBuf {
        self.root.join(&self.relative)
    }
}

impl fmt::Display for TargetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_path_buf().display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<TargetPath, TargetPathError> {
        TargetPath::parse(Path::new("/var/lib/kubelet"), path)
    }

    #[test]
    fn paths_below_the_kubelet_are_kept_relative() {
        let path = parse("/var/lib/kubelet/pods//1/mount/").unwrap();
        assert_eq!(path.relative(), Path::new("pods/1/mount"));
        assert_eq!(
            path.to_path_buf(),
            Path::new("/var/lib/kubelet/pods/1/mount")
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for path in [
            "",
            "some/path",
            "/",
            "/etc",
            "/var/lib/kubelet",
            "/var/lib/kubelet/",
            "/var/lib/kubelet2/x",
            "/var/lib/kubelet/../x",
            "/var/lib/kubelet/a/./b",
            "/var/lib/kubelet/a\0b",
            "/var/lib/kubelet/a\nb",
        ] {
            assert!(parse(path).is_err(), "{path:?}");
        }
    }
}
