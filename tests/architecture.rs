//! The architecture as a test (docs/architecture.md): reads the sources and finds what stands where it must not.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its text without tests.
struct Source {
    path: String,
    text: String,
}

/// In `places`, none of `words` may occur, but in `except`.
struct Rule {
    name: &'static str,
    places: &'static [&'static str],
    words: &'static [&'static str],
    except: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        name: "nouns are pure",
        places: &["volume/"],
        words: &[
            "crate::backend",
            "crate::host",
            "crate::controller",
            "crate::node",
            "crate::rpc",
            "tokio",
            "tonic",
            "std::fs",
            "async fn",
        ],
        except: &[],
    },
    Rule {
        name: "a host knows only nouns",
        places: &["host/"],
        words: &[
            "crate::backend",
            "crate::controller",
            "crate::node",
            "crate::rpc",
            "tonic",
        ],
        except: &[],
    },
    Rule {
        name: "a backend knows hosts and nouns",
        places: &["backend/"],
        words: &["crate::controller", "crate::node", "crate::rpc", "tonic"],
        except: &[],
    },
    Rule {
        name: "the halves of the driver do not know each other or gRPC",
        places: &["controller/", "node/", "in_flight.rs"],
        words: &["crate::rpc", "tonic", "crate::csi", "host::linux"],
        except: &[],
    },
    Rule {
        name: "the controller has no host and no node",
        places: &["controller/"],
        words: &["crate::node", "crate::host"],
        except: &[],
    },
    Rule {
        name: "metrics and health know only what they show",
        places: &["metrics/", "health.rs", "watcher.rs"],
        words: &[
            "crate::controller",
            "crate::node",
            "crate::host",
            "crate::rpc",
            "crate::kubelet",
            "tonic",
        ],
        except: &[],
    },
    Rule {
        name: "the registration knows the socket, not the volumes",
        places: &["kubelet/"],
        words: &[
            "crate::backend",
            "crate::controller",
            "crate::csi",
            "crate::host",
            "crate::node",
        ],
        except: &[],
    },
    Rule {
        name: "the client of the Kubernetes API knows no volumes' storage",
        places: &["kubernetes/"],
        words: &[
            "crate::backend",
            "crate::controller",
            "crate::csi",
            "crate::node",
            "crate::rpc",
            "tonic",
        ],
        except: &[],
    },
    Rule {
        name: "traces know nothing of what they show",
        places: &["traces/"],
        words: &[
            "crate::backend",
            "crate::controller",
            "crate::csi",
            "crate::host",
            "crate::node",
            "crate::rpc",
            "crate::volume",
        ],
        except: &[],
    },
    Rule {
        name: "the doctor looks at the machine, and at the driver from outside; it knows how a data directory looks",
        places: &["doctor/"],
        words: &[
            "FileBackend",
            "crate::backend::memory",
            "crate::backend::{",
            "crate::controller",
            "crate::node",
            "crate::serve",
        ],
        except: &[],
    },
    Rule {
        name: "codes are chosen in rpc",
        places: &[""],
        words: &["tonic::Status", "tonic::Code", "Status::new"],
        except: &[
            "rpc/",
            "demo/",
            "csi.rs",
            "kubelet/",
            "doctor/driver.rs",
            "fuzzing/",
        ],
    },
    Rule {
        name: "nothing needs the fuzz targets",
        places: &[""],
        words: &["crate::fuzzing"],
        except: &["fuzzing/"],
    },
    Rule {
        name: "unsafe code stands in host",
        places: &[""],
        words: &["unsafe {", "unsafe fn", "unsafe impl"],
        except: &[
            "host/linux/growth_ioctl.rs",
            "host/linux/loop_ioctl.rs",
            "host/linux/mount_setattr.rs",
        ],
    },
    Rule {
        name: "filesystems are made for new volumes only",
        places: &[""],
        words: &["mkfs::", "mkfs}", "mkfs."],
        // The table of tools names them; it runs none.
        except: &[
            "backend/file/create.rs",
            "host/linux/mkfs.rs",
            "host/linux/tools.rs",
        ],
    },
    Rule {
        name: "processes are started in one place",
        places: &[""],
        words: &["Command::new"],
        except: &["host/linux/command.rs", "demo/driver.rs"],
    },
];

const MAX_LINES: usize = 600;

fn violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES {
        let applies = rule
            .places
            .iter()
            .any(|place| source.path.starts_with(place));
        if !applies
            || rule
                .except
                .iter()
                .any(|place| source.path.starts_with(place))
        {
            continue;
        }
        let words = rule
            .words
            .iter()
            .filter(|word| source.text.contains(**word));
        found.extend(words.map(|word| format!("{}: {word:?} ({})", source.path, rule.name)));
    }
    if source.text.lines().count() > MAX_LINES {
        found.push(format!("{}: more than {MAX_LINES} lines", source.path));
    }
    found
}

fn sources(root: &Path, directory: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("src is there") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            sources(root, &path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let plain = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            into.push(Source {
                path: path
                    .strip_prefix(root)
                    .expect("below src")
                    .display()
                    .to_string(),
                text: plain.collect::<Vec<_>>().join("\n"),
            });
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &root, &mut all);
    assert!(all.len() > 40, "only {} sources were read", all.len());
    let found: Vec<String> = all.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    for rule in RULES {
        for word in rule.words {
            let planted = Source {
                path: format!("{}planted.rs", rule.places[0]),
                text: format!("use {word};"),
            };
            let found = violations(&planted);
            assert!(
                found.iter().any(|it| it.contains(rule.name)),
                "{}: {word}",
                rule.name
            );
        }
    }
    let long = Source {
        path: "long.rs".to_owned(),
        text: "\n".repeat(MAX_LINES + 1),
    };
    assert!(!violations(&long).is_empty());
}

#[test]
fn the_translation_depends_on_nothing_of_ours() {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("translation/Cargo.toml");
    let text = fs::read_to_string(manifest).expect("the crate is there");
    let section = text.split("[dependencies]").nth(1).unwrap_or_default();
    let names = section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    let allowed = ["k8s-openapi", "serde", "serde_json", "thiserror", ""];
    for name in names.filter(|name| !name.starts_with('#')) {
        assert!(allowed.contains(&name), "{name}");
    }
}
