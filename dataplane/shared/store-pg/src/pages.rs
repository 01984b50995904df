//! Reading rows: by key, and in pages of bounded size.

use bytes::Bytes;
use orrery_pg::Param;
use orrery_store::StoreError;
use orrery_store::engine::{Receipt, Row};

use crate::failure::{Failure, Link, value};
use crate::stores::KEY_BYTES_MAX;

/// Rows of the first page and of the largest: most walks end soon, and long ones take few round trips.
const ROWS_MIN: i64 = 16;
const ROWS_MAX: i64 = 1024;
/// Bytes of the values of a page, unless its first one alone is larger.
const PAGE_BYTES: i64 = 4 << 20;

const GET: &str = "SELECT k, v, until_us FROM orrery_store.rows WHERE shard = $1 AND k = ANY($2)";

const RECEIPTS: &str = "SELECT key, version FROM orrery_store.receipts WHERE shard = $1";

/// Rows of a page by the order of keys; the sums say how large their values are up to each.
macro_rules! page {
    ($order:literal) => {
        concat!(
            "SELECT k, v, until_us FROM (
                SELECT k, v, until_us, octet_length(v) AS own,
                    sum(octet_length(v)) OVER (ORDER BY k ",
            $order,
            ") AS total
                FROM (
                    SELECT k, v, until_us FROM orrery_store.rows
                    WHERE shard = $1 AND k >= $2 AND k < $3 ORDER BY k ",
            $order,
            " LIMIT $4
                ) candidate
            ) sized WHERE total <= $5 OR total = own ORDER BY k ",
            $order
        )
    };
}
const FORWARD: &str = page!("ASC");
const BACKWARD: &str = page!("DESC");

/// A key and its row.
pub(crate) type Keyed = (Bytes, Row);

fn keyed(row: &tokio_postgres::Row) -> Result<Keyed, Failure> {
    let bytes = |index| value::<&[u8]>(row, index).map(Bytes::copy_from_slice);
    Ok((bytes(0)?, Row { value: bytes(1)?, until_us: value(row, 2)? }))
}

/// The rows of these keys, as far as there are some, in no order.
pub(crate) async fn get(link: &mut Link, id: i64, keys: &[&[u8]]) -> Result<Vec<Keyed>, Failure> {
    link.query(GET, &[&id, &keys]).await?.iter().map(keyed).collect()
}

/// The idempotency keys that are remembered.
pub(crate) async fn receipts(link: &mut Link, id: i64) -> Result<Vec<Receipt>, Failure> {
    let mut receipts = Vec::new();
    for row in link.query(RECEIPTS, &[&id]).await? {
        let key = value::<&[u8]>(&row, 0)?.try_into();
        let reason = "a receipt has a key of another length".to_owned();
        let key = key.map_err(|_| Failure::from(StoreError::Corrupt { reason }))?;
        receipts.push((key, value::<i64>(&row, 1)? as u64));
    }
    Ok(receipts)
}

/// Where a walk is.
#[derive(Debug)]
pub(crate) struct Walk {
    id: i64,
    from: Vec<u8>,
    to: Vec<u8>,
    reverse: bool,
    rows: i64,
}

impl Walk {
    /// Through the keys in `[from, to)`; an empty `to` is the end.
    pub(crate) fn new(id: i64, from: &[u8], to: &[u8], reverse: bool) -> Self {
        // Behind every key there can be.
        let end = || vec![u8::MAX; KEY_BYTES_MAX + 1];
        let to = if to.is_empty() { end() } else { to.to_vec() };
        Self { id, from: from.to_vec(), to, reverse, rows: ROWS_MIN }
    }

    /// The next rows; none at the end.
    pub(crate) async fn page(&mut self, link: &mut Link) -> Result<Vec<Keyed>, Failure> {
        let sql = if self.reverse { BACKWARD } else { FORWARD };
        let params: [Param<'_>; 5] = [&self.id, &self.from, &self.to, &self.rows, &PAGE_BYTES];
        link.query(sql, &params).await?.iter().map(keyed).collect()
    }

    /// Goes on behind a page.
    pub(crate) fn advance(&mut self, page: &[Keyed]) {
        self.rows = (self.rows * 4).min(ROWS_MAX);
        let Some((last, _)) = page.last() else { return };
        if self.reverse {
            self.to = last.to_vec();
        } else {
            self.from = [last, &[0][..]].concat();
        }
    }
}
