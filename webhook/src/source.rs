//! What the offline commands read: files, folders and standard input. What stands in them is read by [`Document`].

mod document;

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

pub use document::{Document, Found, InOrder, Place};

/// Manifests have kilobytes and the dump of a large cluster has megabytes; what is larger is some other file.
const BYTES_MAX: u64 = 32 << 20;

const TEMPLATE_HINT: &str = " (a template is no manifest: check what `helm template` makes of it)";

/// One input.
#[derive(Debug)]
pub struct Source {
    /// As its user calls it.
    pub name: String,
    text: Result<String, String>,
    line_starts: OnceCell<Vec<usize>>,
}

/// Why an input cannot be used.
#[derive(Clone, Debug)]
pub struct Unreadable<'s> {
    /// The input.
    pub source: &'s Source,
    /// Where in it reading ended.
    pub place: Option<Place>,
    /// Why.
    pub message: String,
}

/// Reads what a command was given, in that order: files, `-` for standard input, and the manifests in folders and below, sorted by
/// name.
pub fn read(inputs: &[PathBuf]) -> Vec<Source> {
    inputs
        .iter()
        .flat_map(|input| match input {
            input if input.as_os_str() == "-" => vec![Source::new("<stdin>", text(io::stdin()))],
            input if input.is_dir() => folder(input),
            input => vec![file(input)],
        })
        .collect()
}

impl Source {
    /// A source of its own.
    pub fn new(name: impl Into<String>, text: Result<String, String>) -> Self {
        Self {
            name: name.into(),
            text,
            line_starts: OnceCell::new(),
        }
    }

    /// The documents that it holds; empty ones are none.
    pub fn documents(&self) -> Result<Vec<Document>, Unreadable<'_>> {
        let unreadable = |place, message| Unreadable {
            source: self,
            place,
            message,
        };
        let text = self
            .text
            .as_ref()
            .map_err(|message| unreadable(None, message.clone()))?;
        Document::read_all(text).map_err(|(place, message)| {
            let template = text.contains("{{") && text.contains("}}");
            let hint = if template { TEMPLATE_HINT } else { "" };
            unreadable(place, message + hint)
        })
    }

    /// What stands in a line, counted from one. Lines end as YAML has it: also at a lone carriage return.
    pub fn line(&self, line: usize) -> &str {
        let text = self.text.as_deref().unwrap_or_default();
        let after_breaks = || {
            let marks = text.match_indices(['\n', '\r']).map(|(offset, _)| offset);
            let breaks = marks.filter(|mark| !text[*mark..].starts_with("\r\n"));
            breaks.map(|mark| mark + 1)
        };
        let starts = self
            .line_starts
            .get_or_init(|| iter::once(0).chain(after_breaks()).collect());
        let start = line.checked_sub(1).and_then(|index| starts.get(index));
        start
            .and_then(|start| text[*start..].split(['\n', '\r']).next())
            .unwrap_or_default()
    }

    /// The bytes of its line that a place means.
    pub fn within_line(&self, place: Place) -> Range<usize> {
        let line = self.line(place.line);
        let offset = |characters| {
            let character = line.char_indices().nth(characters);
            character.map_or(line.len(), |(offset, _)| offset)
        };
        let start = place.column.saturating_sub(1);
        offset(start)..offset(start.saturating_add(place.length))
    }
}

/// `demo.yaml:7:5: a key must be a string`
impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.source.name)?;
        if let Some(place) = self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", self.message)
    }
}

fn folder(path: &Path) -> Vec<Source> {
    let is_manifest = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file()
    };
    let sources: Vec<Source> = WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| match entry {
            Ok(entry) => is_manifest(entry.path()).then(|| file(entry.path())),
            Err(error) => {
                let path = error.path().unwrap_or(path);
                Some(Source::new(name(path), Err(error.to_string())))
            }
        })
        .collect();
    if sources.is_empty() {
        let message = "there is no .yaml, .yml or .json file in this folder".to_owned();
        return vec![Source::new(path.display().to_string(), Err(message))];
    }
    sources
}

fn file(path: &Path) -> Source {
    let text = File::open(path).map_err(|error| error.to_string()).and_then(text);
    Source::new(name(path), text)
}

/// Services that show a report by the files of a repository know them without a dot in front.
fn name(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn text(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input
        .take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it has more than {} MiB", BYTES_MAX >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
