//! What lies where in the one key space of an engine on disk: ours under the prefix 0, the caller's
//! rows under 1. And how a shard is taken by an owner.

use super::Folder;
use crate::commit::IdempotencyKey;
use crate::receipts::Receipt;
use crate::{Epoch, ShardId, StoreError, TenantId};

/// Version of the layout.
const FORMAT: u32 = 1;

const IDENTITY: &[u8] = b"\0identity";
const EPOCH: &[u8] = b"\0epoch";
pub(crate) const VERSION: &[u8] = b"\0version";
pub(crate) const RECEIPTS: &[u8] = b"\0receipt/";
/// Where the receipts end.
pub(crate) const RECEIPTS_END: &[u8] = b"\0receipt0";
const DATA: u8 = 1;

/// Takes the shard for `epoch`, durably. Refuses another's shard and a lower epoch.
pub(crate) fn own<E: Folder>(
    engine: &E,
    tenant: TenantId,
    shard: ShardId,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let mut identity = FORMAT.to_be_bytes().to_vec();
    identity.extend_from_slice(&tenant.0.to_be_bytes());
    identity.extend_from_slice(&shard.0.to_be_bytes());
    if engine.meta(IDENTITY)?.is_some_and(|found| found != identity) {
        let reason = "its format, tenant or shard is another than asked for";
        return Err(StoreError::corrupt(reason));
    }
    let held = engine.meta(EPOCH)?.map_or(Ok(0), |found| decode_number(&found)).map(Epoch)?;
    if epoch < held {
        return Err(StoreError::Fenced { held, asked: epoch });
    }
    engine.set_meta(&[(IDENTITY, &identity), (EPOCH, &epoch.0.to_be_bytes())])
}

pub(crate) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// The bounds of the rows in `[from, to)`; an empty `to` is the end.
pub(crate) fn data_range(from: &[u8], to: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let end = if to.is_empty() { vec![DATA + 1] } else { data_key(to) };
    (data_key(from), end)
}

/// The caller's key of a row.
pub(crate) fn key_of(data_key: &[u8]) -> &[u8] {
    &data_key[1..]
}

pub(crate) fn receipt_key(key: &IdempotencyKey) -> Vec<u8> {
    [RECEIPTS, key].concat()
}

pub(crate) fn decode_receipt(key: &[u8], version: &[u8]) -> Result<Receipt, StoreError> {
    let key = key[RECEIPTS.len()..].try_into();
    let key = key.map_err(|_| StoreError::corrupt("a receipt has a key of another length"))?;
    Ok((key, decode_number(version)?))
}

pub(crate) fn decode_number(encoded: &[u8]) -> Result<u64, StoreError> {
    let bytes = encoded.try_into().map_err(|_| StoreError::corrupt("a number is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
