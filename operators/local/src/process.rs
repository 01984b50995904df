//! Child processes: started, watched, restarted, stopped, and never left behind.
//!
//! | module | for |
//! |---|---|
//! | [`plan`] | what to run: arguments, environment, folders, ports |
//! | [`supervisor`] | one task per process that keeps it running as planned |
//! | [`backoff`] | how long to wait before the next start |
//! | [`log`] | what a process prints, in a bounded file |
//! | [`record`] | finding and ending processes a crashed `orrery up` left behind |
//! | [`tether`] | the other side: a child that ends when its parent does |

pub mod backoff;
pub mod log;
pub mod plan;
pub mod record;
pub mod supervisor;
pub mod tether;
