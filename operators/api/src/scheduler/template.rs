//! Many jobs from one `Schedule`: a file of rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::LocalRef;

/// What many jobs are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// ConfigMap in the same namespace, whose values have one row a line: CSV with a line of names first
    /// where the key ends in `.csv`, else an object of JSON each. The column `id` tells rows apart: the
    /// job of a row is `<schedule>:<id>`.
    pub data_ref: LocalRef,
    /// The most jobs that are made; a file with more rows is refused as a whole.
    #[serde(default = "max_count")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_count: i32,
}

fn max_count() -> i32 {
    1000
}
