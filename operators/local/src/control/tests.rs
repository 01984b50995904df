//! The control channel from both ends.

use super::*;
use tokio::task::LocalSet;

fn snapshot() -> Snapshot {
    Snapshot {
        version: "0.1.0".into(),
        pid: 7,
        data: "/data".into(),
        sources: Vec::new(),
        objects: vec![serde_json::json!({"kind": "KVCluster"})],
        processes: Vec::new(),
        problems: Vec::new(),
        events: Vec::new(),
        settled: true,
    }
}

fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

#[test]
fn a_question_is_answered_and_the_socket_goes_with_the_server() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    on_one_thread(async {
        let (server, mut calls) = Server::start(&folder).unwrap();
        let asked = folder.clone();
        let asking = tokio::task::spawn_blocking(move || ask(&asked, Request::Get));
        let call = calls.recv().await.unwrap();
        assert_eq!(call.request, Request::Get);
        call.answer.send(snapshot()).unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), snapshot());
        drop(server);
        let error = ask(&folder, Request::Get).unwrap_err().to_string();
        assert!(error.contains("start it with `orrery up`"), "{error}");
    });
}

#[test]
fn nonsense_is_not_answered_and_harms_nobody() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    on_one_thread(async {
        let (_server, mut calls) = Server::start(&folder).unwrap();
        let path = folder.socket();
        let nonsense = tokio::task::spawn_blocking(move || {
            let mut stream = BlockingStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&[b'x'; 10_000]).unwrap();
            let mut answer = Vec::new();
            // The end of the connection, in order or by reset, is the answer.
            let _ = stream.read_to_end(&mut answer);
            answer
        });
        assert!(nonsense.await.unwrap().is_empty());
        let asked = folder.clone();
        let asking = tokio::task::spawn_blocking(move || ask(&asked, Request::Down));
        let call = calls.recv().await.unwrap();
        assert_eq!(call.request, Request::Down);
        call.answer.send(snapshot()).unwrap();
        asking.await.unwrap().unwrap();
    });
}
