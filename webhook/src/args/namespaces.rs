//! What the command line tells of the namespaces in which manifests are to live.

use std::collections::BTreeMap;
use std::str::FromStr;

use ray::label::{is_label_value, is_qualified_name};

/// Where objects are to live.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Namespaces {
    /// The namespace of objects that name none.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All labels of a namespace, by which policies select; may be given for several. What stands among the manifests as a `Namespace` need not be told.
    #[arg(long, value_name = "NAMESPACE:LABEL=VALUE,..", requires = "policy")]
    pub namespace_labels: Vec<NamespaceLabels>,
}

/// A namespace with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceLabels {
    /// The namespace,
    pub namespace: String,
    /// and all labels that it has.
    pub labels: BTreeMap<String, String>,
}

impl FromStr for NamespaceLabels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once(':')
            .filter(|(namespace, _)| !namespace.is_empty());
        let (namespace, labels) = parts.ok_or("write NAMESPACE:LABEL=VALUE, as in team-a:stage=prod")?;
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| match label.split_once('=') {
            Some((key, value)) if is_qualified_name(key) && is_label_value(value) => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(format!("`{label}` is no label: write it as stage=prod")),
        });
        Ok(Self {
            namespace: namespace.to_owned(),
            labels: labels.collect::<Result<_, _>>()?,
        })
    }
}
