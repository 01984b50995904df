//! No two listeners of a pod have the same port.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_runtime::Refusal;

use super::super::spread;

/// The largest number of a port.
const PORT_MAX: i32 = 65_535;

/// The rules of the schema know the ports of an object; those of shards are checked here.
pub(super) fn check(spec: &KVClusterSpec) -> Result<(), Refusal> {
    let refuse =
        |message: String| Err(Refusal::field(Reason::InvalidSpec, "spec.resp.port", message));
    let ports = spread::ports(spec);
    let [first, .., last] = &*ports else { return Ok(()) };
    let resp = first.resp.1..=last.resp.1;
    if *resp.end() > PORT_MAX {
        return refuse(format!(
            "the shards have the ports {} to {}, and {PORT_MAX} is the last there is: use a smaller port",
            resp.start(),
            resp.end()
        ));
    }
    // Management and metrics are below the ports for followers.
    let own = first.replication.1 - 2..=last.replication.1;
    let overlaps = resp.start() <= own.end() && own.start() <= resp.end();
    if overlaps || own.contains(&spec.resp.port) {
        return refuse(format!(
            "the shards have the ports {} to {}, and {} to {} are taken by management, metrics and \
             replication: use another port",
            resp.start(),
            resp.end(),
            own.start(),
            own.end()
        ));
    }
    Ok(())
}
