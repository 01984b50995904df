//! The scheduler data plane: jobs launched at the right second, each exactly once.
//!
//! | part | modules |
//! |---|---|
//! | what is decided; pure | `machine` |
//! | what was decided, and the proof | `ledger` |
//! | a thread with its journal | `partition` |
//! | all partitions together | `engine` |
//! | which process has them | `ownership` |
//! | calls to targets | `dispatch` |
//! | clients | `api` |
//! | all of it put together | `assembly` |
//! | the operator's side | `operand`, `metrics` |
//!
//! [`run`] is the whole process.

pub mod api;
mod archive;
pub mod assembly;
pub mod codec;
pub mod dispatch;
pub mod engine;
mod instance;
pub mod ledger;
pub mod machine;
mod metrics;
mod operand;
pub mod ownership;
pub mod partition;
pub mod run;
mod serve;

pub use metrics::metrics_text;
pub use serve::{ServeArgs, ServeError, run};
