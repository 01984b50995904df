//! The operator of the model, which dies and is followed by another, and what processes do when it
//! tells them something.

use super::*;

impl World {
    /// A beat and a round of the operator.
    pub(super) fn round(&mut self) {
        let answers = |world: &Self, pod: usize| world.runs(pod) && !world.cut[pod];
        if let Some(grant) = self.grant.clone() {
            for pod in (0..self.pods.len()).filter(|pod| answers(self, *pod)).collect::<Vec<_>>() {
                self.renew(pod, grant.epoch);
            }
        }
        let members: Vec<Member> = (0..self.pods.len())
            .map(|pod| {
                let name = format!("a-{pod}");
                if answers(self, pod) {
                    (self.heard[pod], self.renewed[pod]) = (self.now, true);
                    let ready = !self.dice.one_in(10);
                    return Member { ready, ..answering(&name, self.report(pod)) };
                }
                let own = self.now - self.heard[pod];
                let alone = self.alone_since.filter(|_| !self.renewed[pod]);
                let alone = alone.map_or(0, |since| self.now - since + LEASE_MS + DRIFT_MS);
                let unrenewed = Duration::from_millis(own.max(alone));
                Member { unrenewed, ..silent(&name, own) }
            })
            .collect();
        let transition = self.transition.as_ref().map(|(epoch, kind, since)| Transition {
            epoch: *epoch,
            kind: kind.clone(),
            waited: Duration::from_millis(self.now - since),
        });
        let step = decide(&View {
            group: &self.group,
            grant: self.grant.as_ref(),
            was_granted: self.grant.is_some(),
            members: &members,
            transition: transition.as_ref(),
            leave_primary: self.dice.one_in(40),
            replaced: None,
        });
        let number = |name: &str| name[2..].parse::<usize>().unwrap();
        // Any call may be lost, and the operator may die between any two.
        match step {
            Step::Steady { follow } => {
                self.transition = None;
                self.follow(&follow.iter().map(|pod| number(pod)).collect::<Vec<_>>());
            }
            Step::HandOver { from, to, epoch } => {
                if self.fence(number(&from), epoch) {
                    let position = self.pods[number(&from)].log.len() as u64;
                    self.transition = Some((epoch, Kind::HandOver { to, position }, self.now));
                }
            }
            Step::FenceFollowers { pods, epoch } => {
                let fenced: Vec<String> =
                    pods.into_iter().filter(|pod| self.fence(number(pod), epoch)).collect();
                self.transition = Some((epoch, Kind::Failover { fenced }, self.now));
            }
            Step::Grant { to, epoch, failover } => {
                self.failovers += u64::from(failover);
                self.grant = Some(grant(&to, epoch));
                self.transition = None;
                if !self.dice.one_in(5) {
                    self.promote(number(&to), epoch);
                    self.follow(&(0..self.pods.len()).collect::<Vec<_>>());
                }
            }
            Step::Promote { to, epoch } => {
                if !self.promote(number(&to), epoch) {
                    self.grant = Some(grant(&to, epoch + 1));
                }
            }
            Step::Wait { .. } | Step::Blocked { .. } => {}
        }
        if self.dice.one_in(60) {
            // It gave its lease up.
            self.next_operator(None);
        } else if self.dice.one_in(60) && self.operator_until.is_none() {
            // It can no longer renew its lease, which it did every second.
            let renewed = self.now - self.dice.below(1_000);
            self.operator_until = Some(renewed.max(self.operator_since) + OPERATOR_LEASE_MS);
        }
    }

    /// Another operator, which remembers nothing.
    pub(super) fn next_operator(&mut self, alone_since: Option<u64>) {
        self.transition = None;
        self.heard.fill(self.now);
        self.renewed.fill(false);
        (self.operator_until, self.alone_since) = (None, alone_since);
        self.operator_since = self.now;
    }

    /// Until when a lease lasts that the operator confirms now.
    fn lease_until(&self) -> u64 {
        let own = self.operator_until.unwrap_or(u64::MAX);
        (self.now + LEASE_MS).min(own.saturating_sub(DRIFT_MS))
    }

    fn renew(&mut self, pod: usize, epoch: u64) {
        let lease_until = self.lease_until();
        let own = &mut self.pods[pod];
        own.known = own.known.max(epoch);
        let resumes = own.promoted == epoch && own.known == epoch && own.completed != epoch;
        if resumes && own.role != Role::Follower {
            own.role = Role::Primary;
            own.lease_until = own.lease_until.max(lease_until);
        }
    }

    fn fence(&mut self, pod: usize, epoch: u64) -> bool {
        let answers = self.runs(pod) && !self.cut[pod] && !self.dice.one_in(8);
        if answers {
            self.pods[pod].known = self.pods[pod].known.max(epoch);
        }
        answers
    }

    fn promote(&mut self, pod: usize, epoch: u64) -> bool {
        if !self.runs(pod) || self.cut[pod] {
            return true;
        }
        let lease_until = self.lease_until();
        let own = &mut self.pods[pod];
        if epoch <= own.promoted || epoch < own.known {
            return false;
        }
        assert!(own.whole || !own.has_followed, "a part of the data is granted to");
        own.whole = true;
        (own.promoted, own.known, own.role, own.follows) = (epoch, epoch, Role::Primary, None);
        own.lease_until = lease_until;
        own.confirmed.iter_mut().for_each(|confirmed| *confirmed = (0, 0));
        true
    }

    fn follow(&mut self, pods: &[usize]) {
        let Some(grant) = self.grant.clone() else { return };
        let primary: usize = grant.holder[2..].parse().unwrap();
        for pod in pods.iter().copied().filter(|pod| *pod != primary) {
            if self.runs(pod) && !self.cut[pod] && self.pods[pod].known <= grant.epoch {
                let now = self.now;
                let own = &mut self.pods[pod];
                (own.role, own.follows) = (Role::Follower, Some((primary, grant.epoch)));
                (own.has_followed, own.target) = (true, None);
                (own.known, own.completed, own.silent_since) = (grant.epoch, 0, now);
            }
        }
    }
}
