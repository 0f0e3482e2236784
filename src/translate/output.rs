//! What is written: YAML, JSON, names or differences; a list is written item by item.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;
use similar::TextDiff;

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Every document.
    Yaml,
    /// Every document.
    Json,
    /// The names of what was translated.
    Name,
    /// What changed.
    Diff,
}

/// Where in a list we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    /// Between the fields of a list.
    Fields {
        first: bool,
    },
    Items {
        first: bool,
    },
}

pub(super) struct Output<W> {
    format: Format,
    writer: W,
    place: Place,
    documents: usize,
}

impl<W: Write> Output<W> {
    pub(super) fn new(format: Format, writer: W) -> Self {
        Self {
            format,
            writer,
            place: Place::Outside,
            documents: 0,
        }
    }

    /// Writes an object; `before` is what it was translated from, if it was.
    pub(super) fn object(&mut self, object: &Value, before: Option<&Value>) -> io::Result<()> {
        match (self.format, before) {
            (Format::Name | Format::Diff, None) => Ok(()),
            (Format::Name, Some(_)) => writeln!(self.writer, "{}", super::object::describe(object)),
            (Format::Diff, Some(before)) => self.diff(before, object),
            (Format::Json, _) => self.json(object),
            (Format::Yaml, _) => self.yaml(object),
        }
    }

    pub(super) fn begin_list(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => self.writer.write_all(b"{")?,
            Format::Yaml => self.separate()?,
            Format::Name | Format::Diff => {}
        }
        self.place = Place::Fields { first: true };
        Ok(())
    }

    pub(super) fn list_field(&mut self, key: &str, value: &Value) -> io::Result<()> {
        match self.format {
            Format::Json => {
                self.key(key)?;
                serde_json::to_writer(&mut self.writer, value)?;
            }
            Format::Yaml => {
                let field = std::collections::BTreeMap::from([(key, value)]);
                self.writer.write_all(yaml_text(&field)?.as_bytes())?;
            }
            Format::Name | Format::Diff => {}
        }
        self.place = Place::Fields { first: false };
        Ok(())
    }

    pub(super) fn begin_items(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => {
                self.key("items")?;
                self.writer.write_all(b"[")?;
            }
            Format::Yaml => self.writer.write_all(b"items:")?,
            Format::Name | Format::Diff => {}
        }
        self.place = Place::Items { first: true };
        Ok(())
    }

    pub(super) fn end_items(&mut self) -> io::Result<()> {
        match (self.format, self.place) {
            (Format::Json, _) => self.writer.write_all(b"]")?,
            (Format::Yaml, Place::Items { first: true }) => self.writer.write_all(b" []\n")?,
            _ => {}
        }
        self.place = Place::Fields { first: false };
        Ok(())
    }

    pub(super) fn end_list(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            self.writer.write_all(b"}\n")?;
        }
        self.place = Place::Outside;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn json(&mut self, object: &Value) -> io::Result<()> {
        match self.place {
            Place::Items { first } => {
                self.writer.write_all(if first { b"\n" } else { b",\n" })?;
                self.place = Place::Items { first: false };
                serde_json::to_writer(&mut self.writer, object)?;
                Ok(())
            }
            Place::Outside | Place::Fields { .. } => {
                serde_json::to_writer(&mut self.writer, object)?;
                self.writer.write_all(b"\n")
            }
        }
    }

    fn yaml(&mut self, object: &Value) -> io::Result<()> {
        if let Place::Items { first } = self.place {
            if first {
                self.writer.write_all(b"\n")?;
            }
            self.place = Place::Items { first: false };
            return self.writer.write_all(yaml_text(&[object])?.as_bytes());
        }
        self.separate()?;
        self.writer.write_all(yaml_text(object)?.as_bytes())
    }

    fn diff(&mut self, before: &Value, after: &Value) -> io::Result<()> {
        let name = super::object::describe(after);
        let old = if before.is_null() {
            String::new()
        } else {
            yaml_text(before)?
        };
        let new = yaml_text(after)?;
        let diff = TextDiff::from_lines(&old, &new);
        let shown = diff.unified_diff().header(&name, &name).to_string();
        self.writer.write_all(shown.as_bytes())
    }

    fn separate(&mut self) -> io::Result<()> {
        self.documents += 1;
        if self.documents > 1 {
            self.writer.write_all(b"---\n")?;
        }
        Ok(())
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        if self.place != (Place::Fields { first: true }) {
            self.writer.write_all(b",")?;
        }
        serde_json::to_writer(&mut self.writer, key)?;
        self.writer.write_all(b":")
    }
}

fn yaml_text(value: &(impl serde::Serialize + ?Sized)) -> io::Result<String> {
    serde_norway::to_string(value).map_err(io::Error::other)
}
