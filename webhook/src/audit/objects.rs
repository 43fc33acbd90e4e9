//! All objects of a kind, a page at a time and not too fast: an API server with thousands of them has better things to do.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use ray::object::Kind;
use serde_json::Value;

use super::is_absent;
use crate::clusters::resource;

/// So many objects are in memory at once.
const PAGE: u32 = 50;
/// Before each page: five lists a second at most.
const PAUSE: Duration = Duration::from_millis(200);

/// What is still to be listed of a kind.
pub(super) struct Objects {
    kind: Kind,
    api: Api<DynamicObject>,
    next: Next,
}

/// Where the next page begins.
enum Next {
    Beginning,
    After(String),
    /// There is none.
    Nowhere,
}

impl Objects {
    pub(super) fn of(client: Client, kind: Kind) -> Self {
        Self {
            kind,
            api: Api::all_with(client, &resource(kind)),
            next: Next::Beginning,
        }
    }

    /// The next page of those that somebody wrote: clusters of a job or a service are in that one's own manifest. There is none of a kind that
    /// is not installed.
    pub(super) async fn next(&mut self) -> kube::Result<Option<Vec<Value>>> {
        let parameters = ListParams::default().limit(PAGE);
        let parameters = match std::mem::replace(&mut self.next, Next::Nowhere) {
            Next::Nowhere => return Ok(None),
            Next::Beginning => parameters,
            Next::After(token) => parameters.continue_token(&token),
        };
        tokio::time::sleep(PAUSE).await;
        let page = match self.api.list(&parameters).await {
            Err(error) if is_absent(&error) => return Ok(None),
            page => page?,
        };
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.next = token.map_or(Next::Nowhere, Next::After);
        let objects = page.items.into_iter();
        let json = objects.map(|object| serde_json::to_value(object).expect("it was JSON"));
        let written = json.filter(|object| ray::maker(self.kind, object).is_none());
        Ok(Some(written.collect()))
    }
}
