#![doc = include_str!("../README.md")]

mod drift;
mod error;
mod gates;
mod go;
mod md5;
mod plugins;
mod storage_class;
mod topology;
mod translator;
mod version;

pub use drift::{Change, drift, drift_inline};
pub use error::TranslateError;
pub use gates::{FeatureGate, Stage, feature_gates};
pub use plugins::Plugin;
pub use translator::{Translator, as_of, newest};
pub use version::{KubernetesVersion, VersionError};
