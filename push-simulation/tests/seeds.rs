//! Five hundred seeds of `make sim`, and the proofs that its verdict means something: the same seed
//! is the same run, and a defect of any kind is seen.

use push_simulation::{Options, Outcome, Sabotage, report, run};

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn five_hundred_seeds_keep_every_promise() {
    let complain = |outcome: &Outcome| {
        if !outcome.violations.is_empty() {
            eprint!("{}", report::failure(outcome));
        }
    };
    let report = report::all(1..501, cores(), |seed| run(seed, Options::default()), complain);
    println!("{report}");
    assert_eq!(report.failed, 0, "{report}");
    // It would be easy to keep promises to nobody, in fair weather.
    assert!(report.figures.answered > 10_000 && report.figures.delivered > 50_000, "{report}");
    for fault in push_simulation::faults::Fault::ALL {
        assert!(report.counts.contains_key(fault.name()), "never: {}", fault.name());
    }
}

/// Hash tables seed themselves anew in every run, and threads have other addresses: whatever depends
/// on an order that is not the seed's shows here.
#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..25 {
        let first = run(seed, Options::default());
        let again = std::thread::spawn(move || run(seed, Options::default())).join();
        let again = again.expect("a run that does not panic");
        assert!(first.hash == again.hash && first.ms == again.ms, "seed {seed} went another way");
        assert_eq!(first.counts, again.counts);
        assert_eq!(first.figures, again.figures);
    }
    let different = |seed| run(seed, Options::default()).hash;
    assert_ne!(different(1), different(2));
}

/// Defects that are put into the environment on purpose. Each is seen in every run in which it
/// happened, but for a stored message that vanished and whose publisher had hung up.
#[test]
fn a_defect_of_any_kind_is_seen() {
    for defect in Sabotage::ALL {
        let (mut happened, mut seen) = (0, 0);
        for seed in 1..17 {
            let outcome = run(seed, Options { sabotage: Some(defect), ..Options::default() });
            happened += u64::from(outcome.counts.contains_key("sabotage"));
            seen += u64::from(!outcome.violations.is_empty());
        }
        println!("{defect:?}: happened in {happened} runs, seen in {seen}");
        assert!(happened >= 8, "{defect:?} happened in {happened} runs of 16");
        let stored = matches!(defect, Sabotage::Lose | Sabotage::Vanish);
        let enough = if stored { happened - happened / 8 } else { happened };
        assert!(seen >= enough && seen <= happened, "{defect:?}: {happened} happened, {seen} seen");
    }
}
