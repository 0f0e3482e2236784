//! Objects out of files, folders and standard input.
//!
//! JSON is read as a stream: of several documents one after the other, of a `List` one item after the other. YAML is read
//! document by document; its size is bounded, because a parser of YAML needs the whole text.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

/// The largest text of YAML.
const MAX_YAML: u64 = 64 << 20;
/// How much memory one object may take as JSON text.
const MAX_DEPTH_HINT: &str = "objects nest at most 128 deep";

/// Why input cannot be read.
#[derive(Debug, Error)]
pub(super) enum InputError {
    #[error("failed to read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not valid JSON", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is not valid YAML", path.display())]
    Yaml {
        path: PathBuf,
        #[source]
        source: serde_norway::Error,
    },
    #[error("{} has more than {} MiB of YAML; convert it to JSON, which is read as a stream", path.display(), MAX_YAML >> 20)]
    TooLarge { path: PathBuf },
    #[error("failed to write")]
    Write(#[source] io::Error),
}

/// Takes what is read.
pub(super) trait Sink {
    /// An object that is no list.
    fn object(&mut self, object: Value) -> io::Result<()>;
    /// A list begins.
    fn begin_list(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// A field of a list that is not its items.
    fn list_field(&mut self, _: &str, _: Value) -> io::Result<()> {
        Ok(())
    }
    /// The items of a list begin.
    fn begin_items(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// The items of a list end.
    fn end_items(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// A list ends.
    fn end_list(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads everything; nothing named is standard input.
pub(super) fn read_all(paths: &[PathBuf], sink: &mut impl Sink) -> Result<(), InputError> {
    if paths.is_empty() {
        return read_stdin(sink);
    }
    for path in paths {
        if path.as_os_str() == "-" {
            read_stdin(sink)?;
        } else {
            read_path(path, sink)?;
        }
    }
    Ok(())
}

fn read_stdin(sink: &mut impl Sink) -> Result<(), InputError> {
    read(Path::new("standard input"), io::stdin().lock(), sink)
}

/// A file, or all files of a folder whose names say that they are YAML or JSON, in the order of their names.
fn read_path(path: &Path, sink: &mut impl Sink) -> Result<(), InputError> {
    let failed = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    if !path.is_dir() {
        return read(
            path,
            BufReader::new(File::open(path).map_err(failed)?),
            sink,
        );
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = entries
        .map_err(failed)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    for path in paths {
        let is_ours = path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if is_ours || path.is_dir() && !path.is_symlink() {
            read_path(&path, sink)?;
        }
    }
    Ok(())
}

pub(super) fn read(
    path: &Path,
    mut input: impl BufRead,
    sink: &mut impl Sink,
) -> Result<(), InputError> {
    let failed = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    if first_byte(&mut input).map_err(failed)? == Some(b'{') {
        return read_json(path, input, sink);
    }
    let mut text = String::new();
    let read = input.take(MAX_YAML + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > MAX_YAML {
        return Err(InputError::TooLarge {
            path: path.to_owned(),
        });
    }
    read_yaml(path, &text, sink)
}

/// Passes over white space.
fn first_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let blank = buffer
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let found = buffer.get(blank).copied();
        input.consume(blank);
        if found.is_some() {
            return Ok(found);
        }
    }
}

fn read_json(path: &Path, input: impl Read, sink: &mut impl Sink) -> Result<(), InputError> {
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    loop {
        match deserializer.end() {
            Ok(()) => return Ok(()),
            Err(error) if error.is_eof() || error.is_io() => return Err(json_error(path, error)),
            // Another document follows.
            Err(_) => {}
        }
        let mut failure = None;
        let document = Document {
            sink,
            failure: &mut failure,
        };
        let read = document.deserialize(&mut deserializer);
        if let Some(error) = failure {
            return Err(InputError::Write(error));
        }
        read.map_err(|error| json_error(path, error))?;
    }
}

fn json_error(path: &Path, source: serde_json::Error) -> InputError {
    let text = source.to_string();
    let source = if text.contains("recursion limit") {
        serde_json::Error::custom(format!("{text}: {MAX_DEPTH_HINT}"))
    } else {
        source
    };
    InputError::Json {
        path: path.to_owned(),
        source,
    }
}

fn read_yaml(path: &Path, text: &str, sink: &mut impl Sink) -> Result<(), InputError> {
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|source| InputError::Yaml {
            path: path.to_owned(),
            source,
        })?;
        give(value, sink).map_err(InputError::Write)?;
    }
    Ok(())
}

/// Gives a whole document, item by item where it is a list.
fn give(value: Value, sink: &mut impl Sink) -> io::Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Object(fields) if is_list(&fields) => {
            sink.begin_list()?;
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("items", Value::Array(items)) => {
                        sink.begin_items()?;
                        items.into_iter().try_for_each(|item| sink.object(item))?;
                        sink.end_items()?;
                    }
                    (key, value) => sink.list_field(key, value)?,
                }
            }
            sink.end_list()
        }
        value => sink.object(value),
    }
}

fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    let kind = fields
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array)
}

/// A document of a JSON stream. A list is recognised by its field `items` at the top, before which `kubectl` writes only
/// `apiVersion`; what has no such field is collected and given as a whole.
struct Document<'a, S> {
    sink: &'a mut S,
    failure: &'a mut Option<io::Error>,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Document<'_, S> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Document<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = serde_json::Map::new();
        let mut in_list = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" && !fields.contains_key("metadata") && !in_list {
                in_list = true;
                let begun = begin(self.sink, &mut fields);
                keep(self.failure, begun)?;
                map.next_value_seed(Items {
                    sink: self.sink,
                    failure: self.failure,
                })?;
                let ended = self.sink.end_items();
                keep(self.failure, ended)?;
            } else if in_list {
                let written = self.sink.list_field(&key, map.next_value()?);
                keep(self.failure, written)?;
            } else {
                fields.insert(key, map.next_value()?);
            }
        }
        let ended = if in_list {
            self.sink.end_list()
        } else {
            give(Value::Object(fields), self.sink)
        };
        keep(self.failure, ended)
    }
}

fn begin(sink: &mut impl Sink, fields: &mut serde_json::Map<String, Value>) -> io::Result<()> {
    sink.begin_list()?;
    for (key, value) in std::mem::take(fields) {
        sink.list_field(&key, value)?;
    }
    sink.begin_items()
}

/// Errors of the sink have no way through the parser of their own.
fn keep<E: serde::de::Error>(
    failure: &mut Option<io::Error>,
    result: io::Result<()>,
) -> Result<(), E> {
    result.map_err(|error| {
        *failure = Some(error);
        E::custom("the output ended")
    })
}

struct Items<'a, S> {
    sink: &'a mut S,
    failure: &'a mut Option<io::Error>,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Items<'_, S> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Items<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            let given = self.sink.object(item);
            keep(self.failure, given)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Names(Vec<String>);

    impl Sink for Names {
        fn object(&mut self, object: Value) -> io::Result<()> {
            self.0.push(object["metadata"]["name"].to_string());
            Ok(())
        }

        fn end_list(&mut self) -> io::Result<()> {
            self.0.push("end".to_owned());
            Ok(())
        }
    }

    fn names(text: &str) -> Result<Vec<String>, InputError> {
        let mut names = Names::default();
        read(Path::new("test"), text.as_bytes(), &mut names)?;
        Ok(names.0)
    }

    #[test]
    fn documents_and_lists_come_object_by_object() {
        let json = r#" {"metadata":{"name":"a"}} {"apiVersion":"v1","items":[{"metadata":{"name":"b"}}],"kind":"List"}"#;
        assert_eq!(names(json).unwrap(), ["\"a\"", "\"b\"", "end"]);
        let yaml = "metadata: {name: a}\n---\nkind: List\nitems:\n- metadata: {name: b}\n---\n";
        assert_eq!(names(yaml).unwrap(), ["\"a\"", "\"b\"", "end"]);
        assert!(names("").unwrap().is_empty());
    }

    #[test]
    fn hostile_input_ends_in_an_error() {
        let deep_json = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        let deep_yaml = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let line = vec![format!("*a{before}"); 10].join(", ");
            laughs = [laughs, format!("a{level}: &a{level} [{line}]\n")].concat();
        }
        for text in [
            deep_json.as_str(),
            &deep_yaml,
            &laughs,
            "{\"a\":",
            "{\"a\" 1}",
            "a: [",
            "\u{0}",
        ] {
            assert!(names(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
