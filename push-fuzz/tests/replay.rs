//! The fuzz targets over their seeds, over what once broke them, and over mutations of both: what
//! `make fuzz` does at length, in a second or two and always alike.

use std::panic::catch_unwind;

use push_fuzz::{TARGETS, Target, corpus, seeds};

/// Mutations of each input.
const MUTATIONS: usize = 60;

fn replay(name: &str) {
    let Target { run, .. } = push_fuzz::target(name).expect("a target");
    let mut inputs = corpus::files(&corpus::seeds_of(name)).expect("seeds");
    assert!(inputs.len() >= 8, "{name}: {} seeds, too few to start from", inputs.len());
    inputs.extend(corpus::files(&corpus::regressions_of(name)).expect("regressions"));
    run(b"");
    for (n, (file, input)) in inputs.iter().enumerate() {
        assert!(catch_unwind(|| run(input)).is_ok(), "{name}: {file} breaks it, see above");
        for mutation in corpus::mutations(input, n as u64 + 1).take(MUTATIONS) {
            let held = catch_unwind(|| run(&mutation)).is_ok();
            assert!(held, "{name}: a mutation of {file} breaks it, see above: {mutation:x?}");
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        /// A target that is not in this list is not replayed.
        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! { query channels request outgoing frame session link envelope config portal }

/// Those that come of the vectors alone; the others follow the code as it was when they were written.
#[test]
fn the_seeds_are_what_the_vectors_give() {
    let all = seeds::all(&corpus::sources().expect("vectors"));
    let recorded = ["query", "channels", "request", "outgoing", "frame", "envelope"];
    for (target, seeds) in all.into_iter().filter(|(target, _)| recorded.contains(target)) {
        let kept = corpus::files(&corpus::seeds_of(target)).expect("seeds");
        assert!(kept == seeds, "{target}: write them anew with `cargo run -p push-fuzz -- seeds`");
    }
}
