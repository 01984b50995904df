//! Users from their file, and what they may do.

use super::user::Denied;
use super::*;
use crate::server::commands::extra;

const HASH: &str = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";

fn may(users: &Users, name: &str, line: &str) -> Result<(), Denied> {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let spec = extra::find(&args).expect("there is such a command");
    users.find(name.as_bytes()).expect("there is such a user").check(spec, &args)
}

#[test]
fn the_names_the_operator_knows_are_those_of_the_table() {
    let mut names: Vec<&str> = extra::all().map(|spec| spec.full_name).collect();
    names.sort_unstable();
    assert_eq!(names, orrery_api::kv::acl::COMMANDS);
    for spec in extra::all() {
        for category in spec.acl {
            let name = category.strip_prefix('@').expect("it begins with the sign");
            assert!(orrery_api::kv::acl::CATEGORIES.contains(&name), "{name}");
        }
    }
}

#[test]
fn a_file_gives_users_their_passwords_and_limits() {
    let text =
        format!("user shop on #{HASH} +@read -keys %R~shop:* (+set ~cart:*)\n\nuser default off\n");
    let users = Users::parse(&text, None).expect("it can be used");
    let shop = users.find(b"shop").expect("it is there");
    assert!(shop.admits(b"pw") && !shop.admits(b"pw2") && !shop.is_unrestricted());
    assert!(!users.default_user().admits(b"") && !users.default_user().is_open());
    assert_eq!(may(&users, "shop", "GET shop:1"), Ok(()));
    assert_eq!(may(&users, "shop", "GET other"), Err(Denied::Key(1)));
    assert_eq!(may(&users, "shop", "MGET shop:1 other"), Err(Denied::Key(2)));
    assert_eq!(may(&users, "shop", "KEYS *"), Err(Denied::Command));
    assert_eq!(may(&users, "shop", "SET cart:1 x"), Ok(()));
    assert_eq!(may(&users, "shop", "SET shop:1 x"), Err(Denied::Key(1)));
    assert_eq!(may(&users, "shop", "AUTH shop pw"), Ok(()), "everybody may log in");
    assert_eq!(may(&users, "shop", "PSYNC ? -1"), Err(Denied::Command));
}

#[test]
fn a_password_of_default_is_kept_beside_the_file() {
    let own = Some(Digest::of("secret"));
    let users = Users::parse("user default on +@all allkeys", own).expect("it can be used");
    assert!(users.default_user().admits(b"secret") && !users.default_user().admits(b""));
    let users = Users::parse("", own).expect("an empty file is one");
    assert!(users.default_user().is_unrestricted() && !users.default_user().is_open());
    let users = Users::parse("", None).expect("an empty file is one");
    assert!(users.default_user().is_open());
}

#[test]
fn a_file_that_cannot_be_used_is_refused_without_its_passwords() {
    for (text, wanted) in [
        ("user", "line 1 of the users"),
        ("\nuser a\nshop on", "line 3 of the users"),
        ("user a\nuser a", "there twice"),
        ("user a +nosuch", "+nosuch: Unknown command"),
        ("user a (+get", "unclosed"),
        ("user a #hunter2", "a password: The password hash"),
    ] {
        let error = Users::parse(text, None).expect_err("it cannot be used").to_string();
        assert!(error.contains(wanted) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn words_that_no_longer_matter_are_forgotten() {
    let mut user = User::new("a");
    for word in ["+config|get", "-config|set", "+@read", "+config", "-@read", "+select|1"] {
        user.apply(word).expect("it is a word");
    }
    assert_eq!(user.line(), "user a off resetchannels -@all +config -@read +select|1");
    user.apply("+@all").expect("it is a word");
    user.apply("~*").expect("it is a word");
    assert!(user.is_unrestricted());
    assert!(!format!("{user:?}").contains("hunter2"));
    user.apply("-flushall").expect("it is a word");
    assert!(!user.is_unrestricted());
}
