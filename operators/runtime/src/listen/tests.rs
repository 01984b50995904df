//! Streams of small processes over loopback.

use std::net::SocketAddr;

use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::{Access, Operand, service};
use orrery_operand::v1::{
    FenceResponse, PromoteResponse, ReportResponse, SyncRequest, SyncResponse,
};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

use super::*;

/// Says nothing but that something changed.
struct Telling(Option<watch::Sender<u64>>);

#[tonic::async_trait]
impl Operand for Telling {
    async fn report(&self) -> ReportResponse {
        ReportResponse::default()
    }
    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        Ok(SyncResponse { set_hash: request.set_hash, ..SyncResponse::default() })
    }
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.0.as_ref().map(watch::Sender::subscribe)
    }
    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        Ok(Finished::default())
    }
    async fn promote(&self, _: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        Ok(PromoteResponse { epoch, durable_position: 0 })
    }
    async fn fence(&self, _: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        Ok(FenceResponse { epoch, durable_position: 0 })
    }
    async fn snapshot(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Ok(Finished::default())
    }
    async fn restore(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Ok(Finished::default())
    }
}

async fn serve(process: Telling) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let server = tonic::transport::Server::builder()
        .add_service(service(Arc::new(process), Access::Loopback));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn reached(address: SocketAddr) -> Reached {
    let client = OperandClient::new(&address.to_string(), None).expect("the address is good");
    Reached { pod: "a-0".into(), uid: "pod".into(), client }
}

fn key() -> Key {
    ("ns".to_owned(), "a".to_owned())
}

/// Waits until the engine is called.
async fn called(triggers: &Triggers) {
    let due = tokio::time::timeout(Duration::from_secs(20), triggers.due()).await;
    due.expect("a round is called");
    assert_eq!(triggers.start(), Some(key()));
    triggers.finished(key(), None);
}

#[tokio::test]
async fn each_change_calls_a_round_and_nothing_else_does() {
    let sender = watch::Sender::new(0);
    let address = serve(Telling(Some(sender.clone()))).await;
    let triggers = Triggers::new("test", Duration::ZERO, Arc::default());
    let listeners = Listeners::default();
    for _ in 0..3 {
        listeners.listen("engine", &key(), &triggers, &[reached(address)], PAUSE);
    }
    assert_eq!(listeners.lock().len(), 1, "one stream for each process");
    called(&triggers).await;
    assert_eq!(triggers.start(), None, "nothing changed since");
    sender.send_modify(|count| *count += 1);
    called(&triggers).await;
    listeners.listen("engine", &key(), &triggers, &[], PAUSE);
    assert!(listeners.lock().is_empty(), "the pod is gone");
    let gone = tokio::time::timeout(Duration::from_secs(20), sender.closed()).await;
    gone.expect("the stream ends with it");
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_by_a_round_and_one_there_is_not_is_not_asked_for() {
    let triggers = Triggers::new("test", Duration::ZERO, Arc::default());
    let listeners = Listeners::default();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    listeners.listen("engine", &key(), &triggers, &[reached(nobody)], PAUSE);
    called(&triggers).await;

    let address = serve(Telling(None)).await;
    listeners.listen("engine", &key(), &triggers, &[reached(address)], PAUSE);
    let due = tokio::time::timeout(Duration::from_secs(3), triggers.due()).await;
    due.expect_err("a process that tells nothing calls nobody");
    listeners.forget("engine");
    assert!(listeners.lock().is_empty());
}

#[test]
fn many_objects_are_asked_about_less_often() {
    assert_eq!(pause(0, 0), PAUSE);
    assert_eq!(pause(1000, 0), 2 * PAUSE);
    assert_eq!(pause(0, 50), 2 * PAUSE);
    assert_eq!(pause(usize::MAX, usize::MAX), PAUSE_MAX);
}
