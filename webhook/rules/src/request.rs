//! A write that somebody asks for.

use ray::object::Kind;
use serde_json::Value;

/// A write that somebody asks of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to happen to the object.
    pub operation: Operation,
    /// What it is.
    pub kind: Kind,
    /// As it is to become; `null` when it is to be deleted.
    pub object: &'a Value,
    /// As it is now, if it is there.
    pub old: Option<&'a Value>,
    /// Who asks.
    pub user: &'a str,
}

/// What is to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// Somebody connects to it.
    Connect,
}
