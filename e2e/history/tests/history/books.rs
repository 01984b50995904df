//! The books of acknowledged writes.

use orrery_history::books::{Books, differences};

#[test]
fn what_is_lost_doubled_refused_or_unheard_of_is_named() {
    let books =
        Books { acknowledged: [1, 2, 3].into(), refused: [4].into(), unknown: [5, 6].into() };
    assert!(differences(&books, &[1, 2, 5, 3]).is_empty(), "one without an answer may be there");
    assert_eq!(
        differences(&books, &[1, 1, 3, 4, 9]),
        [
            "2 was acknowledged and is lost",
            "1 is there 2 times",
            "4 was refused and is there",
            "9 is there and nobody added it",
        ]
    );
}
