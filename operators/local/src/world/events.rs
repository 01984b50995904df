//! What happened, for the terminal and for `describe`; a bounded number of events is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use orrery_api::Time;

use super::{EVENTS_MAX, World};
use crate::snapshot::Event;

impl World {
    pub(super) fn tell_states(&mut self, now: Timestamp) {
        let mut states = BTreeMap::new();
        let leaving = self.leaving.iter().map(|(key, pod)| (key, pod));
        for (key, pod) in self.pods.iter().chain(leaving) {
            let mut state = pod.state();
            if state == "ready" {
                let ports = pod.life().ports;
                let shown = pod.plan.ports.iter().filter(|port| !is_internal(&port.name));
                for port in shown {
                    let number = ports.get(&port.name).copied().unwrap_or(0);
                    state = format!("{state}, {} on 127.0.0.1:{number}", port.name);
                }
            }
            states.insert(key.clone(), state);
        }
        let old = std::mem::take(&mut self.states);
        for (key, state) in &states {
            if old.get(key) != Some(state) {
                self.remember(key.1.clone(), state.clone(), now);
            }
        }
        for key in old.keys().filter(|key| !states.contains_key(*key)) {
            self.remember(key.1.clone(), "stopped".to_owned(), now);
        }
        self.states = states;
    }

    pub(super) fn remember(&mut self, about: String, text: String, now: Timestamp) {
        let number = self.events.back().map_or(1, |event| event.number + 1);
        self.events.push_back(Event { number, at: Time::new(now), about, text });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }
}

/// Ports that are ours, not the user's.
fn is_internal(port: &str) -> bool {
    matches!(port, "management" | "http")
}
