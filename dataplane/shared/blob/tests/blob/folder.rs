//! What every store keeps, and what only folders can get wrong.

use bytes::Bytes;
use orrery_blob::{Access, Address, BlobError, OBJECT_BYTES_MAX, Put, Store};

async fn keeps_its_promises(store: Store) {
    assert_eq!(store.put_new("a/1", Bytes::from_static(b"one")).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("a/1", Bytes::from_static(b"two")).await.unwrap(), Put::Exists);
    assert_eq!(store.get("a/1").await.unwrap(), "one");
    store.put("a/1", Bytes::from_static(b"three")).await.unwrap();
    assert_eq!(store.get("a/1").await.unwrap(), "three");
    for (range, content) in [(0..2, "th"), (1..100, "hree"), (5..9, ""), (9..12, "")] {
        let part = store.get_part("a/1", range.clone()).await.unwrap();
        assert_eq!((part.content.as_ref(), part.total), (content.as_bytes(), 5), "{range:?}");
    }
    assert!(store.get_part("a/2", 0..1).await.expect_err("it is missing").is_not_found());
    store.put("a/0", Bytes::new()).await.unwrap();
    store.put("b/0", Bytes::new()).await.unwrap();
    let names = |entries: Vec<orrery_blob::Entry>| {
        entries.into_iter().map(|entry| (entry.name, entry.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(names(store.list("a").await.unwrap()), [("a/0".into(), 0), ("a/1".into(), 5)]);
    assert_eq!(store.list("nothing").await.unwrap(), []);
    let name = |entry: orrery_blob::Entry| Some(entry.name);
    assert_eq!(store.pick("a", "a/0", name).await.unwrap(), ["a/1"]);
    let small = |entry: orrery_blob::Entry| (entry.bytes == 0).then_some(entry.name);
    assert_eq!(store.pick("a", "", small).await.unwrap(), ["a/0"]);
    store.delete("a/1").await.unwrap();
    store.delete("a/1").await.unwrap();
    assert!(store.get("a/1").await.expect_err("it is gone").is_not_found());
    let long = Bytes::from(vec![0; OBJECT_BYTES_MAX as usize + 1]);
    assert!(matches!(store.put("long", long).await, Err(BlobError::TooLarge { .. })));
}

#[tokio::test]
async fn memory_and_folder_keep_the_same_promises() {
    keeps_its_promises(Store::memory()).await;
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Folder(folder.path().join("made/on/the/way"));
    keeps_its_promises(Store::create(&address, &Access::default()).unwrap()).await;
}

#[tokio::test]
async fn a_missing_folder_is_not_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Folder(folder.path().join("unmounted"));
    assert!(Store::open(&address, &Access::default()).expect_err("it is missing").is_not_found());
}

#[tokio::test]
async fn a_folder_that_dies_is_an_error_and_a_full_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::create(&Address::Folder(path.clone()), &Access::default()).unwrap();
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "a file stands in its place").unwrap();
    let error = store.put("a", Bytes::from_static(b"x")).await.expect_err("no folder");
    assert!(matches!(error, BlobError::Failed { .. }), "{error}");
}
