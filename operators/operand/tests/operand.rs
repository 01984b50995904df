//! The protocol end to end over a real socket: a small in-memory data plane passes the
//! conformance suite, and each way of breaking a rule is noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use orrery_operand::client::OperandClient;
use orrery_operand::conformance::{self, Specs, Subject};
use orrery_operand::errands::ErrandBook;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::{Access, Operand, service};
use orrery_operand::v1::{
    DeclaredSet, FenceResponse, ObjectResult, PromoteResponse, ReportResponse, Role, SettleRequest,
    SyncRequest, SyncResponse,
};
use orrery_operand::{OperandError, v1};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

/// Ways to be wrong, each of which the suite must notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    GrantsTheSameEpochTwice,
    ForgetsTheFence,
    AcceptsBadObjects,
    NeverFinishesItsSnapshot,
    StaysReadyWhenDrained,
    TellsNoChanges,
    HasNoStates,
    RefusesUnknownErrands,
}

#[derive(Default)]
struct State {
    epoch: u64,
    fenced: bool,
    drained: bool,
    sets: BTreeMap<String, String>,
}

struct Small {
    fault: Fault,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    errands: Arc<ErrandBook>,
}

#[tonic::async_trait]
impl Operand for Small {
    async fn report(&self) -> ReportResponse {
        let state = self.state.lock().expect("no holder panics");
        let role = if state.fenced { Role::Fenced } else { Role::Primary };
        let drained = state.drained && self.fault != Fault::StaysReadyWhenDrained;
        ReportResponse {
            system: "small".into(),
            version: "1".into(),
            role: role.into(),
            epoch: state.epoch,
            ready: !state.fenced && !drained,
            config_hash: "0".repeat(64),
            durability: "memory".into(),
            declared: state
                .sets
                .iter()
                .map(|(kind, set_hash)| DeclaredSet {
                    kind: kind.clone(),
                    set_hash: set_hash.clone(),
                })
                .collect(),
            ..ReportResponse::default()
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        if request.kind != "Thing" {
            return Err(OperandError::Invalid("unknown kind".into()));
        }
        let mut state = self.state.lock().expect("no holder panics");
        let before = state.sets.insert(request.kind, request.set_hash.clone());
        if before.as_ref() != Some(&request.set_hash) && self.fault != Fault::TellsNoChanges {
            self.changes.send_modify(|count| *count += 1);
        }
        let results = request
            .objects
            .into_iter()
            .map(|object| {
                let accepted = object.spec != b"bad" || self.fault == Fault::AcceptsBadObjects;
                let text = |text: &str| {
                    if accepted { String::new() } else { text.to_owned() }
                };
                ObjectResult {
                    accepted,
                    reason: text("InvalidSpec"),
                    message: text("the spec is bad"),
                    namespace: object.namespace,
                    name: object.name,
                    generation: object.generation,
                    state: match self.fault {
                        Fault::HasNoStates => Vec::new(),
                        _ => b"{}".to_vec(),
                    },
                    ..ObjectResult::default()
                }
            })
            .collect();
        Ok(SyncResponse { results, set_hash: request.set_hash })
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changes.subscribe())
    }

    fn errands(&self) -> Result<Arc<ErrandBook>, OperandError> {
        Ok(Arc::clone(&self.errands))
    }

    async fn settle(&self, request: SettleRequest) -> Result<(), OperandError> {
        let known = self.errands.close(&request.key, request.attempt);
        if known.is_none() && self.fault == Fault::RefusesUnknownErrands {
            return Err(OperandError::Invalid("unknown".into()));
        }
        Ok(())
    }

    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        self.state.lock().expect("no holder panics").drained = true;
        Ok(Finished::default())
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        if shard != 0 {
            return Err(OperandError::Invalid(format!("no shard {shard}")));
        }
        let mut state = self.state.lock().expect("no holder panics");
        let low = match self.fault {
            Fault::GrantsTheSameEpochTwice => epoch < state.epoch,
            _ => epoch <= state.epoch && !(state.fenced && epoch == state.epoch),
        };
        if low {
            return Err(OperandError::Fenced { holder: state.epoch });
        }
        state.epoch = epoch;
        state.fenced = false;
        Ok(PromoteResponse { epoch, durable_position: 0 })
    }

    async fn fence(&self, _: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        let mut state = self.state.lock().expect("no holder panics");
        if self.fault != Fault::ForgetsTheFence {
            state.epoch = state.epoch.max(epoch);
            state.fenced = true;
        }
        Ok(FenceResponse { epoch, durable_position: 0 })
    }

    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError> {
        let Some(folder) = to.strip_prefix("file://") else {
            return Err(OperandError::Invalid(format!("{to} is no place")));
        };
        for key in 0..5 {
            on.step("keys", key, 5);
        }
        if self.fault == Fault::NeverFinishesItsSnapshot {
            return Err(OperandError::Unavailable("the disk is full".into()));
        }
        Ok(Finished { position: 1, location: format!("file://{folder}/image"), units: 5, epoch: 2 })
    }

    async fn restore(&self, from: String, _: ProgressSender) -> Result<Finished, OperandError> {
        if from.contains("nonexistent") {
            return Err(OperandError::Invalid("there is nothing".into()));
        }
        Ok(Finished::default())
    }
}

async fn serve(fault: Fault, access: Access) -> SocketAddr {
    let errands = Arc::new(ErrandBook::new("small"));
    let small = Small { fault, state: Mutex::default(), changes: watch::Sender::new(0), errands };
    listen(small, access).await
}

async fn listen(small: Small, access: Access) -> SocketAddr {
    let small = Arc::new(small);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let server = tonic::transport::Server::builder().add_service(service(small, access));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn conformance_of(fault: Fault) -> Result<(), conformance::Broken> {
    let address = serve(fault, Access::Loopback).await;
    let client = OperandClient::new(&address.to_string(), None).expect("the address is good");
    let subject = Subject {
        system: "small".into(),
        declared: Some((
            "Thing".into(),
            Specs { accepted: ["good".into(), "fine".into()], refused: "bad".into() },
        )),
        tells_changes: true,
        has_errands: true,
        snapshot_to: Some("file:///images".into()),
    };
    conformance::run(&client, &subject).await
}

#[tokio::test]
async fn a_data_plane_that_keeps_the_rules_passes() {
    conformance_of(Fault::None).await.expect("every rule holds");
}

#[tokio::test]
async fn every_way_of_breaking_a_rule_is_noticed() {
    for (fault, rule) in [
        (Fault::TellsNoChanges, "a new object is a change"),
        (Fault::HasNoStates, "an accepted object has a state"),
        (Fault::RefusesUnknownErrands, "an errand that was never open is settled all the same"),
        (Fault::GrantsTheSameEpochTwice, "an epoch is granted once"),
        (Fault::ForgetsTheFence, "a fenced shard says so"),
        (Fault::AcceptsBadObjects, "bad objects are refused alone"),
        (Fault::NeverFinishesItsSnapshot, "snapshot ends"),
        (Fault::StaysReadyWhenDrained, "a drained data plane is not ready"),
    ] {
        let broken = conformance_of(fault).await.expect_err(rule);
        assert_eq!(broken.rule, rule, "{}", broken.what);
    }
}

#[tokio::test]
async fn changes_come_at_most_once_a_second_and_none_is_lost() {
    let (sender, receiver) = watch::channel(0);
    let errands = Arc::new(ErrandBook::new("small"));
    let changes = sender.clone();
    let small = Small { fault: Fault::None, state: Mutex::default(), changes, errands };
    drop(receiver);
    let address = listen(small, Access::Loopback).await.to_string();
    let client = OperandClient::new(&address, None).expect("the address is good");
    let mut changes = client.watch().await.expect("it tells");
    assert_eq!(changes.next().await, Ok(0));
    let before = tokio::time::Instant::now();
    let writer = tokio::spawn(async move {
        for _ in 0..500 {
            sender.send_modify(|count| *count += 1);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        sender
    });
    let mut seen = Vec::new();
    while seen.last() != Some(&500) {
        seen.push(changes.next().await.expect("it goes on"));
    }
    writer.await.expect("the writer ends");
    let seconds = before.elapsed().as_secs() as usize;
    assert!(seen.len() <= seconds + 1, "{seen:?} in {seconds} s");
}

#[tokio::test]
async fn a_call_without_the_right_token_is_refused() {
    let address = serve(Fault::None, Access::Token("secret".into())).await.to_string();
    for (token, admitted) in [(None, false), (Some("wrong"), false), (Some("secret"), true)] {
        let client = OperandClient::new(&address, token).expect("the address is good");
        let answer = client.report().await;
        assert_eq!(answer.is_ok(), admitted, "{token:?}");
        if !admitted {
            assert_eq!(answer, Err(OperandError::Unauthenticated));
        }
    }
}

#[tokio::test]
async fn a_dead_data_plane_is_unavailable_and_not_a_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    drop(listener);
    let client = OperandClient::new(&address, None).expect("the address is good");
    let answer = client.report().await;
    assert!(matches!(answer, Err(OperandError::Unavailable(_))), "{answer:?}");
}

#[test]
fn the_generated_code_is_of_this_proto_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = std::fs::read(folder.join("proto/orrery/operand/v1/operand.proto")).expect("proto");
    let code = std::fs::read_to_string(folder.join("src/generated/orrery.operand.v1.rs"));
    let hash = orrery_operand::set_hash::hex(&Sha256::digest(proto));
    let first = format!("// source sha256: {hash}\n");
    assert!(
        code.expect("generated code").starts_with(&first),
        "operand.proto changed: run `cargo run -p xtask --features protocol -- protocol`"
    );
    assert_eq!(v1::Role::Primary.as_str_name(), "ROLE_PRIMARY");
}
