//! The hash that names a set of declared objects, so that a set that is already carried out is
//! not sent or applied again.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::v1::{DeclaredObject, RouteRequest, ShardRoute, SyncRequest};

/// Builds a request for the full set of one kind: sorted, with its hash.
pub fn sync_request(kind: &str, mut objects: Vec<DeclaredObject>) -> SyncRequest {
    objects.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let set_hash = set_hash(kind, &objects);
    SyncRequest { kind: kind.to_owned(), objects, set_hash }
}

/// SHA-256 in hex over kind and objects; every field is preceded by its length, so that no two
/// different sets run together to the same bytes. Objects must be sorted by namespace and name.
pub fn set_hash(kind: &str, objects: &[DeclaredObject]) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(kind.as_bytes());
    for object in objects {
        field(object.namespace.as_bytes());
        field(object.name.as_bytes());
        field(object.uid.as_bytes());
        field(&object.generation.to_le_bytes());
        field(&object.spec);
    }
    hex(&hash.finalize())
}

/// Builds a request for all shards of an object: sorted, with its hash.
pub fn route_request(mut shards: Vec<ShardRoute>) -> RouteRequest {
    shards.sort_by_key(|shard| shard.id);
    for shard in &mut shards {
        shard.followers.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let mut request = RouteRequest { shards, hash: String::new() };
    // The bytes of a message without maps are the same for the same content.
    request.hash = hex(&Sha256::digest(request.encode_to_vec()));
    request
}

/// Lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, generation: i64) -> DeclaredObject {
        DeclaredObject {
            namespace: "shop".into(),
            name: name.into(),
            uid: String::new(),
            generation,
            spec: b"{}".to_vec(),
        }
    }

    #[test]
    fn the_order_of_objects_does_not_matter_but_their_content_does() {
        let ab = sync_request("KVNamespace", vec![object("a", 1), object("b", 1)]);
        let ba = sync_request("KVNamespace", vec![object("b", 1), object("a", 1)]);
        assert_eq!(ab.set_hash, ba.set_hash);
        let newer = sync_request("KVNamespace", vec![object("a", 2), object("b", 1)]);
        assert_ne!(ab.set_hash, newer.set_hash);
        assert_ne!(ab.set_hash, sync_request("Other", ab.objects.clone()).set_hash);
    }
}
