//! What a rule may know: the write that is asked for, and plain facts about the world around it.

use ray::image::Image;
use ray::object::Kind;
use ray::version::RayVersion;
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

/// What is known about the world an object is to live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where images of Ray come from when an object names none. Tags of this repository are also trusted to begin with a version.
    pub image_repository: String,
}

impl Facts {
    /// The version of Ray in an image, where its tag can be trusted to tell.
    pub fn ray_version(&self, image: &Image) -> Option<RayVersion> {
        let own = image.repository == self.image_repository;
        if own {
            image.tagged_version()
        } else {
            image.ray_version()
        }
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            image_repository: "rayproject/ray".to_owned(),
        }
    }
}
