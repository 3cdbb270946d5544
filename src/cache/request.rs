//! The life of a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, AnswerBlock, Origin};
use super::core::Core;
use super::fill::{Failed, Task};
use super::flight::{Claim, Flight, Landing};
use super::lookup::{Found, Purpose, Wanted};
use super::memory::CachedBlock;
use super::supply::Supply;
use super::views::ViewState;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::catalogue;
use crate::model::{EntityKey, FeatureView, Outcome, TimeRange, Timestamp};
use crate::planted::{self, Bug};

/// A request that lost a race this often computes without regard to others.
const ROUNDS: usize = 8;

/// What the blocks of an answer turned out to be.
#[derive(Default)]
struct Tally {
    cached: usize,
    stale: usize,
    computed: usize,
    shared: usize,
    fallback: usize,
}

impl Tally {
    fn outcome(&self) -> Outcome {
        match self {
            Self { fallback: 1.., .. } => Outcome::Fallback,
            Self { computed: 1.., cached: 1.., .. } => Outcome::Partial,
            Self { computed: 1.., .. } => Outcome::Miss,
            Self { shared: 1.., .. } if planted::is(Bug::CoalescedIsHit) => Outcome::Hit,
            Self { shared: 1.., .. } => Outcome::Coalesced,
            Self { stale: 1.., .. } => Outcome::Stale,
            _ => Outcome::Hit,
        }
    }
}

/// A block that is not there yet.
struct Need {
    index: usize,
    block: TimeRange,
    expired: Option<Arc<CachedBlock>>,
}

/// The blocks of an answer in the making.
struct Progress {
    blocks: Vec<TimeRange>,
    parts: Vec<Option<AnswerBlock>>,
    tally: Tally,
    /// Those for which waiting took too long.
    impatient: Vec<usize>,
}

impl Core {
    /// The answer from memory alone, or `None` where anything else is needed. The path that is fast.
    pub fn hit(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange, now: Timestamp) -> Option<Answer> {
        self.dir.stay_joined(now);
        if view.max_age().is_some() {
            return None;
        }
        let first = view.span().block_of(range.start());
        let mut blocks = Vec::with_capacity(1);
        let mut block = first;
        loop {
            let cached = self.memory.get(view.fingerprint(), entity, block.start())?;
            let reaches = cached.block.known_until >= super::plan::needed_until(block, range.end());
            let is_present = self.dir.generation(cached.slots) == cached.generation;
            let good = (reaches || planted::is(Bug::KnownUntilIgnored))
                && (is_present || planted::is(Bug::MemoryUnchecked))
                && !cached.block.is_from_the_future(now);
            if !good {
                return None;
            }
            cached.touch();
            blocks.push(AnswerBlock::new(cached, Origin::Memory, Duration::ZERO, range, now));
            if block.end() >= range.end() {
                return Some(Answer::new(range, range, Outcome::Hit, blocks));
            }
            block = view.span().block_of(block.end());
        }
    }

    /// Checks a request and cuts it at the present.
    pub fn want<'a>(
        &self,
        view: &'a FeatureView,
        entity: &'a EntityKey,
        asked: TimeRange,
        now: Timestamp,
        purpose: Purpose,
    ) -> Result<Wanted<'a>> {
        self.want_until(view, entity, asked, (now, now), purpose)
    }

    /// The same, cut at another time than the present.
    pub fn want_until<'a>(
        &self,
        view: &'a FeatureView,
        entity: &'a EntityKey,
        asked: TimeRange,
        (now, until): (Timestamp, Timestamp),
        purpose: Purpose,
    ) -> Result<Wanted<'a>> {
        // Not every request has tried to hit before.
        self.dir.stay_joined(now);
        let range = TimeRange::new(asked.start(), asked.end().min(until)).map_err(|_| {
            Error::invalid(format!("the range {asked} lies in the future: it is {now} now, and features are computed from what has happened"))
        })?;
        let (count, most) = (view.span().count(range), self.settings().compute.max_blocks);
        if count > most.saturating_add(2) {
            return Err(Error::invalid(format!(
                "the range {asked} has about {count} blocks of one {}, more than compute.max_blocks = {most}: ask for less, or raise it",
                view.span()
            )));
        }
        let (slots, deadline) =
            (self.dir.slots(view.name(), entity), Instant::now() + self.settings().compute.wait_timeout);
        Ok(Wanted { view, entity, asked, range, now, slots, deadline, purpose })
    }

    /// What the cache holds of a range, if that is all of it.
    pub fn get(&self, wanted: &Wanted<'_>) -> Option<Answer> {
        let mut progress = Progress::new(wanted);
        let needs = self.look(wanted, &mut progress);
        needs.is_empty().then(|| progress.answer(wanted))
    }

    /// Answers a request, computing what is missing.
    pub fn serve(&self, state: &Arc<ViewState>, wanted: &Wanted<'_>, supply: &mut dyn Supply) -> Result<Answer> {
        let mut progress = Progress::new(wanted);
        for round in 0..=ROUNDS {
            let needs = self.look(wanted, &mut progress);
            if round == 0 && wanted.purpose == Purpose::Serving {
                needs.iter().for_each(|(_, reason)| self.count_miss(wanted.view.name(), wanted.entity, *reason));
            }
            let needs: Vec<Need> = needs.into_iter().map(|(need, _)| need).collect();
            if needs.is_empty() {
                break;
            }
            if round == ROUNDS {
                progress.impatient = needs.iter().map(|need| need.index).collect();
            }
            if let Some(failed) = self.bring_about(wanted, &needs, supply, &mut progress) {
                self.fall_back(state, wanted, &needs, failed, &mut progress)?;
            }
        }
        if let Some((_, block)) = progress.missing().first() {
            // A caller must not take what lacks for what is not there.
            let what = format!("block {block} of view {} was neither found nor computed", wanted.view.name());
            return Err(Error::new(ErrorKind::Internal, format!("{what}: report this")));
        }
        Ok(progress.answer(wanted))
    }

    /// Looks for what is not there yet; returns what has to be computed.
    fn look(&self, wanted: &Wanted<'_>, progress: &mut Progress) -> Vec<(Need, crate::model::MissReason)> {
        let missing = progress.missing();
        let blocks: Vec<_> = missing.iter().map(|(_, block)| *block).collect();
        let mut needs = Vec::new();
        let mut stale_blocks = Vec::new();
        for ((index, block), found) in missing.into_iter().zip(self.look_up(wanted, &blocks)) {
            match found {
                Found::Whole { cached, origin, took, stale } => {
                    progress.tally.cached += 1;
                    progress.tally.stale += usize::from(stale);
                    if stale {
                        stale_blocks.push(block);
                    }
                    progress.put(wanted, index, cached, origin, took);
                }
                Found::Lacking { expired, reason, .. } => needs.push((Need { index, block, expired }, reason)),
            }
        }
        if !stale_blocks.is_empty() {
            self.refresh_later(wanted, stale_blocks);
        }
        needs
    }

    /// Computes what nobody else computes, and waits for the rest.
    fn bring_about(
        &self,
        wanted: &Wanted<'_>,
        needs: &[Need],
        supply: &mut dyn Supply,
        progress: &mut Progress,
    ) -> Option<Failed> {
        let generation = self.dir.generation(wanted.slots);
        let (alone, claimable): (Vec<&Need>, Vec<&Need>) =
            needs.iter().partition(|need| progress.impatient.contains(&need.index));
        let claims = self.flights.claim(claimable.iter().map(|need| wanted.id(need.block)), generation, self.now());
        let mut tasks: Vec<Task<'_>> = alone.iter().map(|need| need.task(None)).collect();
        let mut follows: Vec<(usize, Arc<Flight>)> = Vec::new();
        let mut failed: Option<Failed> = None;
        for (need, claim) in claimable.into_iter().zip(claims) {
            match claim {
                Claim::Lead(lead) => tasks.push(need.task(Some(lead))),
                Claim::Follow(flight) => follows.push((need.index, flight)),
                Claim::Refused(error) => {
                    self.count(&catalogue::COMPUTE_FAILURES, &[wanted.view.name().as_str(), "backoff"], 1);
                    add_failed(&mut failed, need.index, error);
                }
            }
        }
        tasks.sort_by_key(|task| task.index);
        let (filled, not_filled) = self.fill(wanted, tasks, supply);
        for one in filled {
            progress.tally.cached += usize::from(one.extended);
            progress.put(wanted, one.index, one.cached, one.origin, one.took);
        }
        if let Some(not) = not_filled {
            not.indexes.into_iter().for_each(|index| add_failed(&mut failed, index, not.error.clone()));
        }
        // Only now: what this request leads has landed, so whoever it waits for does not wait for it.
        for (index, flight) in follows {
            self.follow(wanted, index, &flight, progress, &mut failed);
        }
        failed
    }

    fn follow(
        &self,
        wanted: &Wanted<'_>,
        index: usize,
        flight: &Flight,
        progress: &mut Progress,
        failed: &mut Option<Failed>,
    ) {
        let began = Instant::now();
        let landing = flight.wait(wanted.deadline);
        let result = match landing {
            None => {
                if let Some(left_out) = self.repeats.left_out(&format!("waited {}", wanted.view.name())) {
                    tracing::warn!(target: "larder::cache", view = %wanted.view.name(), entity = %wanted.entity, left_out, "waited too long for another request's compute; computing here too");
                }
                progress.impatient.push(index);
                "timeout"
            }
            Some(Landing::Arrived(cached)) => {
                let needed =
                    progress.blocks.get(index).map(|block| super::plan::needed_until(*block, wanted.range.end()));
                // The leader may have asked for less of the tail: then the next round extends it.
                if needed.is_some_and(|needed| cached.block.known_until >= needed) {
                    progress.put(wanted, index, cached, Origin::Shared, began.elapsed());
                }
                "shared"
            }
            Some(Landing::Failed(error)) => {
                add_failed(failed, index, error);
                "failed"
            }
            Some(Landing::Abandoned) => "abandoned",
        };
        self.count(&catalogue::FLIGHT_WAITS, &[result], 1);
    }

    /// Answers what could not be computed from expired blocks or the fallback compute, or with the error.
    fn fall_back(
        &self,
        state: &ViewState,
        wanted: &Wanted<'_>,
        needs: &[Need],
        failed: Failed,
        progress: &mut Progress,
    ) -> Result<()> {
        let max_stale = wanted.view.max_age().unwrap_or_default().saturating_add(wanted.view.max_stale());
        let fallback = state.fallback.load();
        for index in failed.indexes {
            let Some(need) = needs.iter().find(|need| need.index == index) else { continue };
            let needed_until = super::plan::needed_until(need.block, wanted.range.end());
            let usable = need.expired.as_ref().filter(|cached| {
                (wanted.now.since(cached.block.created) <= max_stale || planted::is(Bug::MaxStaleIgnored))
                    && cached.block.known_until >= needed_until
                    && cached.generation == self.dir.generation(wanted.slots)
            });
            let (cached, took) = match (usable, fallback.as_ref()) {
                (Some(cached), _) => (Arc::clone(cached), Duration::ZERO),
                (None, Some(fallback)) => self.compute_fallback(wanted, need.block, &***fallback)?,
                (None, None) => return Err(failed.error),
            };
            if let Some(left_out) = self.repeats.left_out(&format!("fallback {}", wanted.view.name())) {
                tracing::warn!(target: "larder::cache", view = %wanted.view.name(), entity = %wanted.entity, block = %need.block, error = %failed.error, left_out, "answered by fallback");
            }
            progress.put(wanted, index, cached, Origin::Fallback, took);
        }
        Ok(())
    }
}

fn add_failed(failed: &mut Option<Failed>, index: usize, error: Error) {
    failed.get_or_insert_with(|| Failed { indexes: Vec::new(), error }).indexes.push(index);
}

impl Need {
    fn task<'a>(&self, lead: Option<super::flight::Lead<'a>>) -> Task<'a> {
        Task { index: self.index, block: self.block, tail: None, lead }
    }
}

impl Progress {
    fn new(wanted: &Wanted<'_>) -> Self {
        let blocks: Vec<_> = wanted.view.span().blocks(wanted.range).collect();
        let parts = blocks.iter().map(|_| None).collect();
        Self { blocks, parts, tally: Tally::default(), impatient: Vec::new() }
    }

    fn missing(&self) -> Vec<(usize, TimeRange)> {
        let blocks = self.blocks.iter().copied().enumerate().zip(&self.parts);
        blocks.filter(|(_, part)| part.is_none()).map(|(block, _)| block).collect()
    }

    fn put(&mut self, wanted: &Wanted<'_>, index: usize, cached: Arc<CachedBlock>, origin: Origin, took: Duration) {
        match origin {
            Origin::Memory | Origin::Disk => {}
            Origin::Compute => self.tally.computed += 1,
            Origin::Shared => self.tally.shared += 1,
            Origin::Fallback => self.tally.fallback += 1,
        }
        cached.touch();
        if let Some(part) = self.parts.get_mut(index) {
            *part = Some(AnswerBlock::new(cached, origin, took, wanted.range, wanted.now));
        }
    }

    fn answer(self, wanted: &Wanted<'_>) -> Answer {
        let outcome = self.tally.outcome();
        Answer::new(wanted.asked, wanted.range, outcome, self.parts.into_iter().flatten().collect())
    }
}
