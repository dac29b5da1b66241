//! Work on many blocks at once, on threads that end with it.
//! Jobs in order -> what became of them, in the same order.
//! Invariant: jobs that are under way never hold more than `bytes_max` together.
//! Leaves out: what the work is.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use super::pace::Pace;

/// How often whoever waits for a block looks whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a thread does with a job. Each thread has one of its own, for the
/// state that it uses again.
pub(super) trait Worker {
    /// What a thread needs to know to make its own.
    type Recipe: Copy + Send;
    /// A block, and what to do with it.
    type Job: Send;
    /// What became of it.
    type Done: Send;

    /// Made by the thread that has it.
    fn new(recipe: Self::Recipe) -> Self;

    /// Does a job; gives up soon once `go_on` says no, with any result.
    fn work(&mut self, job: Self::Job, go_on: &dyn Fn() -> bool) -> Self::Done;
}

/// How many threads there may be, and how they behave.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    pub(super) count: usize,
    /// What each does first: lowers its priority.
    pub(super) prepare: fn(),
    /// When all of them pause.
    pub(super) pace: Option<Arc<Pace>>,
}

impl Threads {
    /// Asks whether to go on, after a pause if it is time for one.
    pub(super) fn go_on(&self, go_on: &dyn Fn() -> bool) -> bool {
        if let Some(pace) = &self.pace {
            pace.keep(go_on);
        }
        go_on()
    }
}

/// Why there is nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Told to.
    Told,
    /// The thread that had the job is lost, through a fault of ours.
    Lost,
}

/// With its place in the order.
type Numbered<T> = (usize, T);

/// Threads at work. A thread starts with the first job that finds none idle;
/// all end when the crew is dropped, soon. Where the system has no thread for
/// us, the work is done by whoever hands it out.
pub(super) struct Crew<'scope, 'env, W: Worker> {
    scope: &'scope Scope<'scope, 'env>,
    threads: Threads,
    started: usize,
    recipe: W::Recipe,
    own: Option<W>,
    bytes_max: usize,
    bytes: usize,
    /// What is under way, the oldest first: how long it is, and what became
    /// of it.
    under_way: VecDeque<(usize, Option<W::Done>)>,
    first_number: usize,
    jobs: Option<Sender<Numbered<W::Job>>>,
    jobs_end: Arc<Mutex<Receiver<Numbered<W::Job>>>>,
    done: Receiver<Numbered<Option<W::Done>>>,
    done_end: Sender<Numbered<Option<W::Done>>>,
    stop: Arc<AtomicBool>,
}

impl<'scope, W: Worker> Crew<'scope, '_, W>
where
    W: 'scope,
    W::Recipe: 'scope,
    W::Job: 'scope,
    W::Done: 'scope,
{
    /// Nobody yet.
    pub(super) fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        threads: Threads,
        bytes_max: usize,
        recipe: W::Recipe,
    ) -> Crew<'scope, 'env, W> {
        let (jobs, jobs_end) = mpsc::channel();
        let (done_end, done) = mpsc::channel();
        Crew {
            scope,
            threads,
            started: 0,
            recipe,
            own: None,
            bytes_max,
            bytes: 0,
            under_way: VecDeque::new(),
            first_number: 0,
            jobs: Some(jobs),
            jobs_end: Arc::new(Mutex::new(jobs_end)),
            done,
            done_end,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// May a job of so many bytes be handed out now? A single one always may.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.under_way.is_empty() || self.bytes.saturating_add(bytes) <= self.bytes_max
    }

    /// Hands a job out.
    pub(super) fn hand_out(&mut self, bytes: usize, job: W::Job) {
        let number = self.first_number + self.under_way.len();
        if self.started <= self.under_way.len() && self.started < self.threads.count.max(1) {
            self.start_one();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        match &self.jobs {
            Some(jobs) if self.started > 0 => {
                self.under_way.push_back((bytes, None));
                // The receiver lives as long as we do.
                let _ = jobs.send((number, job));
            }
            _ => {
                let own = self.own.get_or_insert_with(|| W::new(self.recipe));
                let done = own.work(job, &|| true);
                self.under_way.push_back((bytes, Some(done)));
            }
        }
    }

    /// What became of the oldest job; waits for it while `go_on` says so.
    /// None when nothing is under way.
    pub(super) fn oldest(&mut self, go_on: &dyn Fn() -> bool) -> Result<Option<W::Done>, Stop> {
        loop {
            match self.under_way.front_mut() {
                None => return Ok(None),
                Some((bytes, done @ Some(_))) => {
                    let done = done.take();
                    self.bytes = self.bytes.saturating_sub(*bytes);
                    self.under_way.pop_front();
                    self.first_number += 1;
                    return Ok(done);
                }
                Some((_, None)) => {}
            }
            if !go_on() {
                return Err(Stop::Told);
            }
            match self.done.recv_timeout(LOOK_EVERY) {
                Ok((number, Some(done))) => {
                    let place = number.checked_sub(self.first_number);
                    let slot = place.and_then(|place| self.under_way.get_mut(place));
                    if let Some(slot) = slot {
                        slot.1 = Some(done);
                    }
                }
                Ok((_, None)) | Err(RecvTimeoutError::Disconnected) => return Err(Stop::Lost),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn start_one(&mut self) {
        let (jobs, done) = (Arc::clone(&self.jobs_end), self.done_end.clone());
        let (stop, recipe, threads) = (Arc::clone(&self.stop), self.recipe, self.threads.clone());
        let thread = thread::Builder::new().name("seal".to_owned());
        let started = thread.spawn_scoped(self.scope, move || {
            (threads.prepare)();
            let mut worker = W::new(recipe);
            let go_on = || threads.go_on(&|| !stop.load(Ordering::Relaxed));
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((number, job)) = job else { return };
                if !go_on() {
                    return;
                }
                // Whoever waits for this block must hear of it.
                let result = catch_unwind(AssertUnwindSafe(|| worker.work(job, &go_on))).ok();
                let lost = result.is_none();
                if done.send((number, result)).is_err() || lost {
                    return;
                }
            }
        });
        self.started += usize::from(started.is_ok());
    }
}

impl<W: Worker> Drop for Crew<'_, '_, W> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    /// Waits for as long as the job says, or until it is stopped.
    struct Sleeper;

    impl Worker for Sleeper {
        type Recipe = ();
        type Job = u64;
        type Done = u64;

        fn new((): ()) -> Sleeper {
            Sleeper
        }

        fn work(&mut self, job: u64, go_on: &dyn Fn() -> bool) -> u64 {
            assert!(job != 666, "a fault of ours");
            let end = Instant::now() + Duration::from_millis(job);
            while Instant::now() < end && go_on() {
                thread::sleep(Duration::from_millis(1));
            }
            job
        }
    }

    const THREE: Threads = Threads { count: 3, prepare: || {}, pace: None };

    #[test]
    fn what_became_of_jobs_comes_in_their_order() {
        thread::scope(|scope| {
            let mut crew = Crew::<Sleeper>::new(scope, THREE, 100, ());
            let jobs = [30, 0, 5, 0, 1, 0, 0, 20, 0];
            let mut done = Vec::new();
            for job in jobs {
                while !crew.has_room_for(20) {
                    done.extend(crew.oldest(&|| true).unwrap());
                }
                crew.hand_out(20, job);
                assert!(crew.bytes <= 100 && crew.started <= 3);
            }
            while let Some(next) = crew.oldest(&|| true).unwrap() {
                done.push(next);
            }
            assert_eq!(done, jobs);
            assert_eq!(crew.bytes, 0);
        });
    }

    #[test]
    fn whoever_waits_can_be_told_to_stop_and_the_threads_end() {
        let begun = Instant::now();
        let asked = AtomicUsize::new(0);
        thread::scope(|scope| {
            let mut crew = Crew::<Sleeper>::new(scope, THREE, 100, ());
            for _ in 0..5 {
                crew.hand_out(1, 60_000);
            }
            let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 3;
            assert_eq!(crew.oldest(&go_on), Err(Stop::Told));
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_thread_that_is_lost_is_told_of() {
        thread::scope(|scope| {
            let mut crew = Crew::<Sleeper>::new(scope, THREE, 100, ());
            crew.hand_out(1, 666);
            assert_eq!(crew.oldest(&|| true), Err(Stop::Lost));
        });
    }
}
