//! Work shared by threads, delivered in order.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

struct State<T> {
    next: usize,
    delivered: usize,
    done: BTreeMap<usize, T>,
    stop: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }
}

/// Ends the work when the thread that holds it panics, so that nobody waits for its result.
struct Fuse<'a, T>(&'a Shared<T>);

impl<T> Drop for Fuse<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

/// Calls `work` for `0..count` on `threads` threads (0 for one per core) and `deliver`, on the calling thread, with the results in order.
/// No thread runs further ahead than a few results per thread. Ends early when `deliver` returns `false`.
pub(super) fn ordered<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut deliver: impl FnMut(usize, T) -> bool,
) {
    let threads = if threads == 0 { thread::available_parallelism().map_or(1, usize::from) } else { threads }.min(count);
    if threads <= 1 {
        for index in 0..count {
            if !deliver(index, work(index)) {
                return;
            }
        }
        return;
    }
    let ahead = 4 * threads;
    let shared = Shared {
        state: Mutex::new(State { next: 0, delivered: 0, done: BTreeMap::new(), stop: false }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _fuse = Fuse(&shared);
                loop {
                    let mut state = shared.lock();
                    while !state.stop && state.next < count && state.next >= state.delivered + ahead {
                        state = shared.wait(state);
                    }
                    let index = state.next;
                    if state.stop || index >= count {
                        return;
                    }
                    state.next += 1;
                    drop(state);
                    let result = work(index);
                    shared.lock().done.insert(index, result);
                    shared.changed.notify_all();
                }
            });
        }
        // `deliver` may panic as well; the workers must not wait for it then.
        let _fuse = Fuse(&shared);
        for index in 0..count {
            let mut state = shared.lock();
            let result = loop {
                if let Some(result) = state.done.remove(&index) {
                    break result;
                }
                if state.stop {
                    return;
                }
                state = shared.wait(state);
            };
            state.delivered = index + 1;
            drop(state);
            shared.changed.notify_all();
            if !deliver(index, result) {
                shared.stop();
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::ordered;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            ordered(
                threads,
                100,
                |i| i * i,
                |i, square| {
                    seen.push((i, square));
                    true
                },
            );
            assert_eq!(seen, (0..100).map(|i| (i, i * i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_early_end_is_one_and_nobody_runs_far_ahead() {
        let started = AtomicUsize::new(0);
        let mut delivered = 0;
        let work = |_| started.fetch_add(1, Ordering::Relaxed);
        ordered(2, 10_000, work, |_, _| {
            delivered += 1;
            delivered < 10
        });
        assert_eq!(delivered, 10);
        assert!(started.load(Ordering::Relaxed) <= 10 + 8 + 2);
    }

    #[test]
    fn a_panic_of_the_work_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| ordered(2, 100, |i| assert!(i != 50), |_, ()| true));
        caught.unwrap_err();
    }
}
