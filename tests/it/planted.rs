//! Bugs on purpose, each of which a test has to find: a process of these tests has the bug, and runs those that are to.

use std::io::Read;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use larder::planted::Bug;

use crate::tools::{mortal, skip};

/// The tests each of which finds a bug: few, and quick ones. None of these are those that only some orders show in which threads may
/// run: `interleavings/` finds them.
fn finders(bug: Bug) -> &'static [&'static str] {
    match bug {
        // All of them do not.
        Bug::Nothing => &[
            "damage::a_flipped_bit_is_a_miss_not_an_answer",
            "coherence::an_invalidated_block_is_computed_again_in_every_store",
        ],
        Bug::OldFlightJoined | Bug::FlightNotLanded | Bug::LandedBeforeLeaving | Bug::YoungerFlightRemoved => &[],
        Bug::ChecksumSkipped | Bug::QuarantineSkipped => &["damage::a_flipped_bit_is_a_miss_not_an_answer"],
        Bug::IdentityUnchecked => &["damage::a_truncated_a_vanished_and_an_exchanged_file_are_misses"],
        Bug::FileNotSynced | Bug::DirectoryNotSynced => &[
            "crash::order::what_is_durable_is_synced_before_it_takes_its_name_and_its_directory_after",
            "crash::seam::a_block_is_durable_although_another_one_beside_it_could_not_be_synced",
        ],
        Bug::RemovalNotSynced => &[
            "crash::order::what_is_invalidated_is_gone_from_the_disk_before_that_returns",
            "crash::seam::what_is_done_again_after_it_failed_is_done",
        ],
        Bug::WrittenInPlace => &["readers::whoever_has_a_block_open_goes_on_reading_it_as_it_was"],
        Bug::LinksFollowed => &["damage::a_link_in_the_place_of_a_block_is_not_followed"],
        Bug::CaseFolded => &["directory::hostile_keys_stay_inside_and_apart"],
        Bug::PublishedUnchecked => {
            &["coherence::a_compute_that_began_before_an_invalidation_is_answered_and_not_published"]
        }
        Bug::GenerationNotRaised | Bug::MemoryUnchecked | Bug::InvalidatedFromWithin => {
            &["coherence::an_invalidated_block_is_computed_again_in_every_store"]
        }
        Bug::RemovedAfterRaise => {
            &["coherence::who_reads_in_the_middle_of_an_invalidation_serves_nothing_of_it_afterwards"]
        }
        Bug::KnownUntilIgnored | Bug::GapBeginsLate => &["requests::the_tail_is_extended_from_where_it_ends"],
        Bug::WatermarkIgnored => &["requests::what_lies_beyond_the_watermark_is_answered_and_not_kept"],
        Bug::VersionIgnored => &["requests::a_tail_whose_rows_were_corrected_is_computed_again_and_not_extended"],
        Bug::GapsJoined => &["requests::holes_between_cached_blocks_are_separate_gaps"],
        Bug::HistoryBeginsLate => &["pushes::history_begins_with_the_row_at_its_very_beginning"],
        Bug::EndIncluded => &["requests::a_range_inside_a_block_gets_its_rows_and_keeps_the_whole_block"],
        Bug::EmptyNotKept => &["requests::an_empty_result_is_a_result"],
        Bug::CoalescedIsHit => &["counting::who_waited_for_anothers_compute_had_no_hit"],
        Bug::FlightNotJoined => &["flights::thirty_two_threads_that_ask_for_one_key_cause_one_compute"],
        Bug::ProcessesNotOrdered => &["processes::four_processes_that_ask_for_one_key_cause_one_compute"],
        Bug::ErrorForEver => &["failures::a_failure_is_answered_to_all_until_the_back_off_is_over_and_not_cached"],
        Bug::MaxAgeIgnored => &["freshness::past_its_max_age_a_block_is_computed_again"],
        Bug::MaxStaleIgnored => &["freshness::within_max_stale_an_expired_block_answers_where_computing_fails"],
        Bug::FoldedTwice => &["journals::however_often_a_journal_is_folded_its_records_count_once"],
        Bug::LastRecordDropped => &["counting::misses_are_remembered_with_entity_and_reason"],
        Bug::JournalUnchecked => &["journals::a_flipped_bit_in_a_journal_costs_records_and_makes_none_wrong"],
        Bug::RepairedEmpty => &["damage::a_manifest_that_was_deleted_comes_back_from_the_blocks"],
        Bug::RemovalToldFirst => &[
            "cleaning::the_journal_knows_of_a_removal_once_it_has_happened",
            "crash::seam::what_fails_leaves_no_block_that_the_manifest_does_not_know",
        ],
        Bug::MostValuableFirst => &["cleaning::what_is_used_most_stays_where_the_cache_is_too_large"],
        Bug::RetentionFromCreated => &["cleaning::retention_counts_from_the_last_use"],
        Bug::TtlExclusive => &["pushes::both_ends_of_the_ttl_are_included"],
        Bug::CreatedTimeIgnored => &["pushes::a_correction_counts_from_when_it_was_known"],
        Bug::FirstPushOnly => &["pushes::the_last_push_of_a_row_counts"],
        Bug::UnfinishedPushIgnored => {
            &["crash::syscalls::a_push_that_is_repeated_after_a_kill_in_the_middle_is_in_every_answer"]
        }
    }
}

/// How a run of tests ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// So many passed, and none failed.
    Passed(usize),
    /// Each of the tests failed, and that is what one said first.
    Found(String),
    /// Some could not be run here.
    Skipped(String),
    /// None of these: some tests passed, or the process died or hung before it could tell.
    Broken(String),
}

/// Longer than any of these tests takes on a busy machine: only so that whatever hangs is told.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs tests of this binary in a process of their own, with a bug or without.
fn run(bug: Option<&str>, tests: &[&str]) -> Verdict {
    let skipped = tempfile::NamedTempFile::new().unwrap();
    let mut command = mortal(std::env::current_exe().unwrap());
    command.arg("--exact").args(tests).args(["--test-threads", "2"]).env_remove("RUST_LOG");
    // What is missing there is said here, and has no bug.
    command.env_remove("CI").env("TESTS_SKIPPED", skipped.path());
    command.envs(bug.map(|bug| ("LARDER_PLANTED", bug)));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
    let mut from = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        from.read_to_string(&mut said).map(|_| said).unwrap_or_default()
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let Some(status) = status else {
        child.kill().unwrap();
        child.wait().unwrap();
        return Verdict::Broken("it hangs".to_owned());
    };
    let skipped = std::fs::read_to_string(skipped.path()).unwrap();
    // Who is skipped passes, beside those that find it.
    match verdict(status.code(), &reading.join().unwrap(), skipped.lines().count()) {
        Verdict::Passed(_) if !skipped.is_empty() => Verdict::Skipped(skipped.trim_end().replace('\n', "; ")),
        verdict => verdict,
    }
}

/// What the words of the test harness mean, where so many tests were skipped.
fn verdict(code: Option<i32>, said: &str, skipped: usize) -> Verdict {
    let result = said.lines().rfind(|line| line.starts_with("test result: "));
    let passed = result.and_then(|line| line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse().ok());
    match (code, result, passed) {
        (Some(0), _, Some(passed)) => Verdict::Passed(passed),
        (Some(101), Some(result), None) if result.contains(&format!("FAILED. {skipped} passed;")) => {
            let mut words = said.lines().skip_while(|line| !line.contains("panicked at"));
            Verdict::Found(words.by_ref().take(2).collect::<Vec<_>>().join(" "))
        }
        _ => Verdict::Broken(format!("exit {code:?}: {said}")),
    }
}

#[test]
fn every_planted_bug_is_found() {
    let bugs: Vec<Bug> =
        Bug::ALL.iter().copied().filter(|bug| *bug != Bug::Nothing && !finders(*bug).is_empty()).collect();
    let (left, verdicts) = (Mutex::new(bugs.iter().copied()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(bug) = left.lock().unwrap().next() else { break };
                    let verdict = run(Some(bug.name()), finders(bug));
                    verdicts.lock().unwrap().push((bug, verdict));
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap();
    let found = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Found(_))).count();
    let mut skipped = 0;
    for (bug, verdict) in &verdicts {
        eprintln!("{}: {verdict:?}", bug.name());
        if let Verdict::Skipped(why) = verdict {
            skip(&format!("planted bug {}: {why}", bug.name()));
            skipped += 1;
        }
    }
    eprintln!("planted bugs: {found} of {} found, {skipped} skipped", bugs.len());
    let is_left = |verdict: &Verdict| !matches!(verdict, Verdict::Found(_) | Verdict::Skipped(_));
    let left: Vec<_> = verdicts.iter().filter(|(_, verdict)| is_left(verdict)).collect();
    assert!(left.is_empty() && found + skipped == bugs.len() && found > 0, "{left:?}");
}

#[test]
fn without_a_bug_the_same_tests_find_none() {
    let mut tests: Vec<_> = Bug::ALL.iter().flat_map(|bug| finders(*bug)).copied().collect();
    tests.sort_unstable();
    tests.dedup();
    let verdict = run(None, &tests);
    if let Verdict::Skipped(why) = &verdict {
        return skip(why);
    }
    assert_eq!(verdict, Verdict::Passed(tests.len()));
    eprintln!("planted bugs: none, {} tests pass", tests.len());
}

#[test]
fn a_bug_that_changes_nothing_is_not_called_found() {
    let tests = finders(Bug::Nothing);
    assert_eq!(run(Some(Bug::Nothing.name()), tests), Verdict::Passed(tests.len()));
    assert_eq!(run(Some(Bug::ChecksumSkipped.name()), &["no::such_test"]), Verdict::Passed(0), "no test finds nothing");
    assert!(matches!(verdict(None, "running 1 test\n", 0), Verdict::Broken(_)), "who is killed has found nothing");
    assert!(matches!(verdict(Some(101), "thread panicked at main", 0), Verdict::Broken(_)), "nor who fails to begin");
    let one_of_two = "test result: FAILED. 1 passed; 1 failed; 0 ignored";
    assert!(matches!(verdict(Some(101), one_of_two, 0), Verdict::Broken(_)), "nor does one test find it for another");
    assert!(matches!(verdict(Some(101), one_of_two, 1), Verdict::Found(_)), "who was skipped is not asked");
}
