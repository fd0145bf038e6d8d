//! The examples run to their ends, and what they claim holds.

#[path = "../examples/score_a_folder.rs"]
mod score_a_folder;
#[path = "../examples/write_a_search.rs"]
mod write_a_search;

#[test]
fn score_a_folder_runs() {
    score_a_folder::main().unwrap();
}

#[test]
fn write_a_search_runs() {
    write_a_search::main().unwrap();
}
