//! The checkers against histories of which the verdict is known: made by a service that is right, and
//! then spoiled.

#[path = "history/books.rs"]
mod books;
#[path = "history/lists.rs"]
mod lists;
#[path = "history/porcupine.rs"]
mod porcupine;
#[path = "history/registers.rs"]
mod registers;
#[path = "history/simulated.rs"]
mod simulated;
