//! What went through the proxy, as a list: where there are no packets to capture, that is the evidence.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::Serialize;

use crate::channel::network::Captured;

/// Flows in a list at most.
const MOST: usize = 10_000;

/// One connection, or the datagrams of one sender.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Flow {
    route: String,
    from: String,
    /// Milliseconds after the capture began.
    opened_ms: u64,
    closed_ms: Option<u64>,
    bytes_up: u64,
    bytes_down: u64,
    end: Option<String>,
}

/// The flows, while they are captured.
#[derive(Default)]
pub(super) struct Flows(Mutex<Option<List>>);

struct List {
    since: Instant,
    flows: Vec<Flow>,
    left_out: u64,
    generation: u64,
}

/// A flow of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(u64, usize);

impl Flows {
    fn with<T>(&self, act: impl FnOnce(&mut List) -> Option<T>) -> Option<T> {
        act(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?)
    }

    /// Begins a list.
    pub(super) fn start(&self) {
        static GENERATION: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let generation = GENERATION.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let list = List { since: Instant::now(), flows: Vec::new(), left_out: 0, generation };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
    }

    /// A flow began.
    pub(super) fn open(&self, route: &str, from: &str) -> Option<Number> {
        self.with(|list| {
            if list.flows.len() >= MOST {
                list.left_out += 1;
                return None;
            }
            let opened_ms = list.since.elapsed().as_millis() as u64;
            let (route, from) = (route.to_owned(), from.to_owned());
            list.flows.push(Flow { route, from, opened_ms, closed_ms: None, bytes_up: 0, bytes_down: 0, end: None });
            Some(Number(list.generation, list.flows.len() - 1))
        })
    }

    fn edit(&self, number: Option<Number>, edit: impl FnOnce(&mut Flow, u64)) {
        let Some(Number(generation, index)) = number else { return };
        self.with(|list| {
            let now = list.since.elapsed().as_millis() as u64;
            // A flow of an earlier capture is none of this one.
            if list.generation == generation
                && let Some(flow) = list.flows.get_mut(index)
            {
                edit(flow, now);
            }
            Some(())
        });
    }

    /// Bytes went through.
    pub(super) fn passed(&self, number: Option<Number>, up: bool, bytes: usize) {
        self.edit(number, |flow, _| *(if up { &mut flow.bytes_up } else { &mut flow.bytes_down }) += bytes as u64);
    }

    /// A flow ended.
    pub(super) fn close(&self, number: Option<Number>, how: &str) {
        self.edit(number, |flow, now| (flow.closed_ms, flow.end) = (Some(now), Some(how.to_owned())));
    }

    /// Ends the list.
    pub(super) fn finish(&self) -> Option<Captured> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let bytes = serde_json::to_vec_pretty(&list.flows).unwrap_or_default();
        Some(Captured { bytes, ending: "json", count: list.flows.len() as u64, left_out: list.left_out })
    }
}
