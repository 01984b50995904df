use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn keeper(folder: &tempfile::TempDir) -> Keeper {
    Keeper::new(Some(Auth { folder: folder.path().into() }), None)
}

fn value(credentials: &Credentials) -> (&str, &str) {
    let (name, value) = credentials.auth.as_ref().expect("a header");
    (name.as_str(), value.to_str().expect("a text"))
}

#[test]
fn the_files_say_how_the_target_is_told_who_calls() {
    for (files, header) in [
        (&[("token", "t0ken\n")][..], ("authorization", "Bearer t0ken")),
        (&[("username", "a"), ("password", "b")][..], ("authorization", "Basic YTpi")),
        (&[("header", "X-Api-Key"), ("value", "k")][..], ("x-api-key", "k")),
    ] {
        let folder = folder(files);
        let credentials = keeper(&folder).credentials(Instant::now()).expect("readable");
        assert_eq!(value(&credentials), header);
        assert!(credentials.auth.as_ref().is_some_and(|(_, value)| value.is_sensitive()));
        assert!(!format!("{credentials:?}").contains(header.1));
    }
}

#[test]
fn what_cannot_be_sent_is_an_error_that_does_not_show_it() {
    for files in [
        &[][..],
        &[("token", "hunter2\nhunter2")][..],
        &[("header", "hunter2 hunter2"), ("value", "v")][..],
        &[("header", "Host"), ("value", "hunter2")][..],
        &[("header", "X-Orrery-Attempt"), ("value", "hunter2")][..],
        &[("value", "hunter2")][..],
    ] {
        let folder = folder(files);
        let error = keeper(&folder).credentials(Instant::now()).expect_err("unusable");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let folder = folder(&[("secret", "whsec_hunter2!")]);
    let signing = Some(SigningKey { folder: folder.path().into() });
    let error = Keeper::new(None, signing).credentials(Instant::now()).expect_err("no base64");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_change_is_read_and_one_that_cannot_be_read_keeps_what_was() {
    let folder = folder(&[("token", "old")]);
    let mut keeper = keeper(&folder);
    let start = Instant::now();
    assert_eq!(value(&keeper.credentials(start).expect("readable")).1, "Bearer old");
    std::fs::write(folder.path().join("token"), "new").expect("writable");
    assert_eq!(value(&keeper.credentials(start).expect("readable")).1, "Bearer old");
    let later = start + LOOK_EVERY;
    assert_eq!(value(&keeper.credentials(later).expect("readable")).1, "Bearer new");
    std::fs::remove_file(folder.path().join("token")).expect("removable");
    let later = later + LOOK_EVERY;
    assert_eq!(value(&keeper.credentials(later).expect("kept")).1, "Bearer new");
}
