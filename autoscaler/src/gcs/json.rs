//! A reply of the GCS that is written down, as protobuf writes it in JSON. It is read by what the protocol says of itself, and means what it
//! means on the wire: what we do not know of it is passed over.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Report;
use super::rpc::autoscaler::GetClusterResourceStateReply;

static REPLY: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/gcs.bin")).as_slice())
        .expect("the build script described the protocol");
    pool.get_message_by_name("ray.rpc.autoscaler.GetClusterResourceStateReply")
        .expect("we ask for this reply")
});

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = DynamicMessage::deserialize_with_options(REPLY.clone(), json, &options)?;
        let reply: GetClusterResourceStateReply = message.transcode_to().map_err(D::Error::custom)?;
        let state = reply.cluster_resource_state;
        state
            .map(Into::into)
            .ok_or_else(|| D::Error::missing_field("cluster_resource_state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recorded reply of `report.rs`, once as it came and once by way of JSON.
    #[test]
    fn json_means_what_the_wire_means() {
        let recorded = include_bytes!("../../fixtures/ray-2.60.0-waiting.bin").as_slice();
        let message = DynamicMessage::decode(REPLY.clone(), recorded).expect("a recorded reply");
        let json = serde_json::to_string(&message).expect("a message is JSON");
        let read: Report = serde_json::from_str(&json).expect("a report");
        let reply: GetClusterResourceStateReply = prost::Message::decode(recorded).expect("a recorded reply");
        let wire: Report = reply.cluster_resource_state.expect("a state").into();
        assert_eq!(format!("{read:?}"), format!("{wire:?}"));
    }
}
