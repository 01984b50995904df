//! Bounds of the event loop and of single connections. Every constant says why it has its value.

/// Read from a socket at once: enough for deep pipelines, small enough to be fair.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Commands one connection may run before the others get their turn.
pub(crate) const COMMANDS_PER_TURN: usize = 2_000;
/// Effects of a turn go to the journal as one record unless they exceed this.
pub(crate) const RECORD_BYTES: usize = 4 << 20;
/// A connection with this much unsent output runs nothing more until some of it is sent. Large,
/// because clients exist that send a whole pipeline before they read the first reply.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 64 << 20;
/// The same once the unsent output of all connections together exceeds [`OUTPUT_TOTAL_BYTES`].
pub(crate) const OUTPUT_PAUSE_BYTES_TIGHT: usize = 256 * 1024;
pub(crate) const OUTPUT_TOTAL_BYTES: usize = 512 << 20;
/// A paused connection that takes nothing for this long is closed: it never reads.
pub(crate) const STALL_SECONDS: u64 = 10;
/// Commands queued by one `MULTI`, in bytes of their arguments.
pub(crate) const MULTI_BYTES_MAX: usize = 256 << 20;
/// Buffers kept for connections that become active; more are freed.
pub(crate) const SPARE_BUFFERS: usize = 64;
/// A buffer that grew beyond this is freed instead of kept.
pub(crate) const SPARE_BUFFER_BYTES: usize = 128 * 1024;
/// Room a query buffer may keep besides what is in it: connections that wait in the middle of a
/// request are as many as idle ones.
pub(crate) const QUERY_ROOM_BYTES: usize = 4 * 1024;
/// Values put aside for a running snapshot. Above this, writes wait until the snapshot has taken
/// them: it writes at the pace of the disk, and memory must not make up the difference.
pub(crate) const SNAPSHOT_BACKLOG_BYTES: usize = 32 << 20;
/// A peer that has not finished its TLS handshake by then is closed.
pub(crate) const HANDSHAKE_SECONDS: u64 = 10;
/// Handshakes in progress, at some 20 KiB each; further connections are closed at once.
pub(crate) const HANDSHAKES_MAX: u64 = 4096;
/// Handshakes that go on in one turn. A signature can take a millisecond, and nobody else is served
/// meanwhile; the others go on in the next turn.
pub(crate) const HANDSHAKES_PER_TURN: usize = 4;
/// The folder of certificates is looked at this often.
pub(crate) const CERTIFICATES_LOOK_MS: u64 = 1000;
/// Regular work runs this often.
pub(crate) const CRON_MS: u64 = 100;

/// What `CONFIG SET` can change about connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(crate) clients_max: usize,
    /// Idle connections are closed after this long; 0 = never.
    pub(crate) idle_seconds: u64,
    pub(crate) query_bytes_max: usize,
    pub(crate) bulk_bytes_max: i64,
    /// Unsent output that closes a connection at once; 0 = no such limit.
    pub(crate) output_hard_bytes: usize,
    /// Unsent output that closes it when it lasts; 0 = no such limit.
    pub(crate) output_soft_bytes: usize,
    pub(crate) output_soft_seconds: u64,
}
