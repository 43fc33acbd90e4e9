//! KubeRay's own opinion: a program in Go (`oracle/`) that is built once for each version, and asked by lines of JSON.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rules::Operator;
use serde::Deserialize;
use serde_json::{Value, json};
use workshop::{Cache, GoBuild, Making, copy_folder};

const MODULE: &str = "github.com/ray-project/kuberay/ray-operator";
const PROGRAM: &str = "oracle";

/// A published version of KubeRay.
#[derive(Debug)]
pub struct Oracle {
    /// Which one.
    pub operator: Operator,
    folder: PathBuf,
}

/// What a version of KubeRay says to an object.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The object as the operator reads it, with the CRD's defaults and without unknown fields; nothing if it does not get that far.
    pub object: Option<Value>,
    /// Fields that the CRD does not have. The API server drops them, or refuses the object if whoever sends it wants that.
    #[serde(default)]
    pub unknown: Vec<String>,
    /// A verdict for each set of gates.
    pub verdicts: Vec<Verdict>,
}

/// What it says under one set of gates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Verdict {
    /// `accepted`, or who refuses: `schema`, `decode` or one of KubeRay's functions.
    pub by: String,
    /// In the words of whoever refuses.
    #[serde(default)]
    pub message: String,
    /// It did not refuse but fell over.
    #[serde(default)]
    pub panic: bool,
}

impl Verdict {
    /// The operator goes to work.
    pub fn is_accepted(&self) -> bool {
        self.by == "accepted"
    }

    /// The API server refuses, so that nobody after it sees the object.
    pub fn is_of_schema(&self) -> bool {
        matches!(self.by.as_str(), "schema" | "decode")
    }
}

impl Oracle {
    /// The versions whose module is published.
    pub const OPERATORS: [Operator; 3] = [Operator::V1_6, Operator::V1_5, Operator::V1_4];

    /// Built if it is not there.
    pub fn make(operator: Operator, cache: &Cache, making: &Making) -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle");
        let (version, flags) = match operator {
            Operator::V1_4 => ("v1.4.2", ["-modfile=v1.4.2.mod", "-tags=kuberay_1_5"].as_slice()),
            Operator::V1_5 => ("v1.5.1", ["-modfile=v1.5.1.mod", "-tags=kuberay_1_5"].as_slice()),
            Operator::V1_6 => ("v1.6.2", [].as_slice()),
            Operator::V1_7 => anyhow::bail!("the module of KubeRay 1.7 is not published"),
        };
        let build = GoBuild {
            key: format!("oracle-{version}-{:016x}", fingerprint(&sources)?),
            folder: sources,
            executables: &[(PROGRAM, ".")],
            flags: flags.iter().map(ToString::to_string).collect(),
            linker_flags: String::new(),
        };
        let folder = build.make(cache, making, |folder| {
            copy_folder(&build.source(MODULE)?.join("config"), &folder.join("config"))
        })?;
        Ok(Self { operator, folder })
    }

    /// The objects of `ray.io` among KubeRay's samples, by the name of their file.
    pub fn samples(&self) -> Result<Vec<(String, Value)>> {
        let mut samples = Vec::new();
        let mut folders = vec![self.folder.join("config/samples")];
        while let Some(folder) = folders.pop() {
            let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
            entries.sort_by_key(std::fs::DirEntry::path);
            for entry in entries {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let objects = documents(&std::fs::read_to_string(&path)?)
                        .with_context(|| format!("read {}", path.display()))?;
                    samples.extend(objects.into_iter().map(|object| (name.clone(), object)));
                }
            }
        }
        samples.retain(|(_, object)| {
            object["apiVersion"]
                .as_str()
                .is_some_and(|group| group.starts_with("ray.io/"))
        });
        Ok(samples)
    }

    /// Tells `hear` what it says to each object, under each set of changes of the default gates.
    pub fn ask<'o>(
        &self,
        objects: impl Iterator<Item = &'o Value> + Send,
        gates: &[BTreeMap<&str, bool>],
        mut hear: impl FnMut(Answer),
    ) -> Result<()> {
        let mut program = Command::new(self.folder.join(PROGRAM))
            .arg("--definitions")
            .arg(self.folder.join("config/crd/bases"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the oracle")?;
        let mut questions = BufWriter::new(program.stdin.take().expect("it was asked for"));
        let answers = BufReader::new(program.stdout.take().expect("it was asked for"));
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || {
                for object in objects {
                    writeln!(questions, "{}", json!({"object": object, "gates": gates}))?;
                }
                questions.flush()
            });
            for line in answers.lines() {
                hear(serde_json::from_str(&line?)?);
            }
            asking.join().expect("it only writes").context("ask the oracle")
        })?;
        ensure!(program.wait()?.success(), "the oracle failed");
        Ok(())
    }
}

/// The documents of a YAML file, as kubectl reads it.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    Ok(serde_saphyr::from_multiple_with_options(text, options)?)
}

/// Decides which build of the oracle is the right one.
fn fingerprint(folder: &Path) -> Result<u64> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(file.path())?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
