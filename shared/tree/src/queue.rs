//! Work done by many, taken in order by one, in bounded memory.
//!
//! Jobs are put in their order, done in any order by whoever is free, and taken in their order again. Memory is given
//! out in the jobs' order as well: the job that is waited for never waits for memory that a later one holds.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, Thread},
};

/// A piece of memory: files are read into as many as they need.
pub(crate) type Slab = Box<[u8]>;

/// The size of a [`Slab`].
pub(crate) const SLAB_BYTES: usize = 64 << 10;

/// The queue was stopped: nobody wants the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

pub(crate) struct Queue<J, T> {
    state: Mutex<State<J, T>>,
    most_ahead: usize,
    slabs: usize,
    /// A job waits for somebody to do it.
    work: Condvar,
    /// The first result is there.
    front: Condvar,
    /// There is room for more.
    room: Condvar,
}

struct State<J, T> {
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot's job.
    first: u64,
    jobs: VecDeque<(u64, J)>,
    /// Jobs before this one have their memory, or need none.
    granted: u64,
    /// Slabs that may be given out, whether they exist yet or not.
    free: usize,
    idle: Vec<Slab>,
    ended: bool,
    stopped: bool,
}

enum Slot<T> {
    Begun,
    Asks(usize, Thread),
    Granted,
    Done(T),
}

impl<J, T> Queue<J, T> {
    /// A queue for at most `most_ahead` jobs, whose results hold at most `slabs` together.
    pub(crate) fn new(most_ahead: usize, slabs: usize) -> Self {
        let state = State {
            slots: VecDeque::with_capacity(most_ahead),
            first: 0,
            jobs: VecDeque::new(),
            granted: 0,
            free: slabs,
            idle: Vec::new(),
            ended: false,
            stopped: false,
        };
        Queue {
            state: Mutex::new(state),
            most_ahead: most_ahead.max(1),
            slabs,
            work: Condvar::new(),
            front: Condvar::new(),
            room: Condvar::new(),
        }
    }

    // A panic elsewhere leaves a state that is whole: every change is made in one go.
    fn lock(&self) -> MutexGuard<'_, State<J, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_room(&self) -> Result<MutexGuard<'_, State<J, T>>, Stopped> {
        let full = |state: &mut State<J, T>| !state.stopped && state.slots.len() >= self.most_ahead;
        let state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.stopped { Err(Stopped) } else { Ok(state) }
    }

    /// Puts a job; waits while there are too many.
    pub(crate) fn put(&self, job: J) -> Result<(), Stopped> {
        let mut state = self.with_room()?;
        let number = state.first + state.slots.len() as u64;
        state.slots.push_back(Slot::Begun);
        state.jobs.push_back((number, job));
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Puts a result that needed no work; waits likewise.
    pub(crate) fn put_done(&self, result: T) -> Result<(), Stopped> {
        let mut state = self.with_room()?;
        state.slots.push_back(Slot::Done(result));
        state.grant();
        let is_front = state.slots.len() == 1;
        drop(state);
        if is_front {
            self.front.notify_one();
        }
        Ok(())
    }

    /// No more is put.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.work.notify_all();
        self.front.notify_all();
    }

    /// Nobody waits any longer.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for slot in &state.slots {
            if let Slot::Asks(_, worker) = slot {
                worker.unpark();
            }
        }
        drop(state);
        self.work.notify_all();
        self.front.notify_all();
        self.room.notify_all();
    }

    /// The next job to do; none when there will be no more.
    pub(crate) fn job(&self) -> Option<(u64, J)> {
        let idle = |state: &mut State<J, T>| !state.stopped && !state.ended && state.jobs.is_empty();
        let mut state = self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.stopped { None } else { state.jobs.pop_front() }
    }

    /// Memory for a job, once: waits until all jobs before it have theirs and so many slabs are free.
    pub(crate) fn memory(&self, number: u64, slabs: usize) -> Result<Vec<Slab>, Stopped> {
        let slabs = slabs.min(self.slabs);
        let mut state = self.lock();
        if let Some(slot) = state.slot(number) {
            *slot = Slot::Asks(slabs, thread::current());
        }
        state.grant();
        loop {
            if state.stopped {
                return Err(Stopped);
            }
            match state.slot(number) {
                Some(Slot::Asks(..)) => {}
                _ => break,
            }
            drop(state);
            thread::park();
            state = self.lock();
        }
        let keep = state.idle.len().saturating_sub(slabs);
        let mut given = state.idle.split_off(keep);
        drop(state);
        given.resize_with(slabs, || vec![0; SLAB_BYTES].into_boxed_slice());
        Ok(given)
    }

    /// The job's result.
    pub(crate) fn done(&self, number: u64, result: T) {
        let mut state = self.lock();
        let is_front = number == state.first;
        if let Some(slot) = state.slot(number) {
            *slot = Slot::Done(result);
        }
        state.grant();
        drop(state);
        if is_front {
            self.front.notify_one();
        }
    }

    /// Memory that is no longer needed.
    pub(crate) fn give_back(&self, slabs: Vec<Slab>) {
        if slabs.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.free += slabs.len();
        state.idle.extend(slabs);
        state.grant();
    }

    /// The next result, in the order of the jobs; none after the last.
    pub(crate) fn take(&self) -> Result<Option<T>, Stopped> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(Stopped);
            }
            match state.slots.pop_front() {
                Some(Slot::Done(result)) => {
                    state.first += 1;
                    let room = state.slots.len() + 1 == self.most_ahead;
                    drop(state);
                    if room {
                        self.room.notify_one();
                    }
                    return Ok(Some(result));
                }
                Some(begun) => state.slots.push_front(begun),
                None if state.ended => return Ok(None),
                None => {}
            }
            state = self.front.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<J, T> State<J, T> {
    fn slot(&mut self, number: u64) -> Option<&mut Slot<T>> {
        let at = number.checked_sub(self.first)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// Gives memory to the next jobs, as far as it goes.
    fn grant(&mut self) {
        self.granted = self.granted.max(self.first);
        loop {
            let free = self.free;
            let number = self.granted;
            match self.slot(number) {
                Some(slot @ Slot::Asks(..)) => {
                    let Slot::Asks(wanted, worker) = &*slot else { return };
                    if *wanted > free {
                        return;
                    }
                    let (wanted, worker) = (*wanted, worker.clone());
                    *slot = Slot::Granted;
                    self.free -= wanted;
                    worker.unpark();
                }
                Some(Slot::Done(_)) => {}
                _ => return,
            }
            self.granted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use proptest::prelude::*;

    use super::*;

    /// Results hold `needs[n]` slabs each, and come in order, and never more than there are.
    fn run(needs: &[usize], workers: usize, most_ahead: usize, slabs: usize) {
        let queue: Arc<Queue<usize, (usize, Vec<Slab>)>> = Arc::new(Queue::new(most_ahead, slabs));
        let held = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (queue, held) = (Arc::clone(&queue), Arc::clone(&held));
                scope.spawn(move || {
                    while let Some((number, needed)) = queue.job() {
                        if (number as usize + worker).is_multiple_of(3) {
                            std::thread::sleep(Duration::from_micros(50));
                        }
                        let memory = if needed > 0 { queue.memory(number, needed).expect("not stopped") } else { Vec::new() };
                        let now = held.fetch_add(memory.len(), Ordering::SeqCst) + memory.len();
                        assert!(now <= slabs, "{now} of {slabs}");
                        queue.done(number, (number as usize, memory));
                    }
                });
            }
            let (putting, jobs) = (Arc::clone(&queue), needs.to_vec());
            scope.spawn(move || {
                for needed in jobs {
                    putting.put(needed).expect("not stopped");
                }
                putting.end();
            });
            for (number, needed) in needs.iter().enumerate() {
                let (taken, memory) = queue.take().expect("not stopped").expect("there is more");
                assert_eq!((taken, memory.len()), (number, (*needed).min(slabs)));
                held.fetch_sub(memory.len(), Ordering::SeqCst);
                queue.give_back(memory);
            }
            assert!(queue.take().expect("not stopped").is_none());
        });
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let queue: Arc<Queue<u32, ()>> = Arc::new(Queue::new(2, 1));
        queue.put(0).expect("room");
        queue.put(1).expect("room");
        let (one, _) = queue.job().expect("a job");
        let (two, _) = queue.job().expect("a job");
        let held = queue.memory(one, 1).expect("memory");
        std::thread::scope(|scope| {
            let waits = [
                scope.spawn(|| queue.memory(two, 1).map(drop)),
                scope.spawn(|| queue.put(2)),
                scope.spawn(|| queue.take().map(drop)),
                scope.spawn(|| queue.job().map(drop).ok_or(Stopped)),
            ];
            std::thread::sleep(Duration::from_millis(50));
            queue.stop();
            for wait in waits {
                assert_eq!(wait.join().expect("no panic"), Err(Stopped));
            }
        });
        drop(held);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn results_come_in_order_within_the_memory(
            needs in proptest::collection::vec(0usize..6, 0..120), workers in 1usize..9, most_ahead in 1usize..20, slabs in 5usize..9,
        ) {
            run(&needs, workers, most_ahead, slabs);
        }
    }
}
