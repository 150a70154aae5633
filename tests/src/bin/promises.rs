//! Prints the table promise → test, made from the tests themselves.

use tests::{project, promises};

fn main() {
    let tested = promises::tested(&project::sources());
    let listed = promises::listed(&promises::document());
    for promise in &listed {
        println!("{} {}", if promise.kept { "kept" } else { "open" }, promise.sentence);
        for test in tested.get(&promise.sentence).into_iter().flatten() {
            println!("       {test}");
        }
    }
    let kept = listed.iter().filter(|promise| promise.kept).count();
    println!("\n{kept} kept, {} open", listed.len() - kept);
}
