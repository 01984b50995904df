//! What happens to the group while clients work.

use std::thread;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::backend::Backend;
use super::clock;
use super::proxy::Mode;
use super::stage::Stage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The primary is killed, and another one takes over.
    Kill,
    /// The primary sleeps until another one has taken over, and goes on then.
    Sleep,
    /// The primary is cut off: from its followers, or from what carries the journal.
    Cut(Way),
    /// The primary is told to give its place to another one.
    Move,
    FollowerKill,
    FollowerSleep,
    /// The server that carries the journal is killed and started.
    ServerKill,
    /// Nobody reaches it for a moment.
    ServerCut,
    /// The time of day of every member jumps, forward or back.
    Clocks,
}

/// How a network fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    BreaksOff,
    /// What was sent arrives when all is over.
    DeliversLate,
}

impl Fault {
    pub(crate) fn draw(random: &mut StdRng, stage: &Stage) -> Self {
        let backend = stage.backend;
        let cuts = [Self::Cut(Way::BreaksOff), Self::Cut(Way::DeliversLate)];
        let mut all = vec![Self::Kill, Self::Sleep, Self::Sleep, Self::Move];
        match backend {
            Backend::Local => all.extend([Self::FollowerKill, Self::FollowerSleep]),
            Backend::Postgres | Backend::Bucket => {
                all.extend([Self::ServerKill, Self::ServerCut]);
            }
            Backend::ObjectStore => {}
        }
        // A folder has no network to it.
        if backend != Backend::ObjectStore {
            all.extend(cuts);
        }
        if stage.has_clocks {
            all.push(Self::Clocks);
        }
        all[random.random_range(0..all.len())]
    }

    /// Makes it happen, and mends it.
    pub(crate) fn strike(self, stage: &mut Stage, random: &mut StdRng) {
        match self {
            Self::Kill => kill(stage, random),
            Self::Sleep => sleep(stage, random),
            Self::Cut(way) => cut(stage, random, way),
            Self::Move => {
                let old = stage.fail_over(true);
                pause(random, 0..200);
                rejoin(stage, old);
            }
            Self::FollowerKill => {
                let follower = a_follower(stage, random);
                stage.restart(follower);
            }
            Self::FollowerSleep => {
                let follower = a_follower(stage, random);
                stage.member(follower).signal("STOP");
                pause(random, 10..700);
                stage.member(follower).signal("CONT");
            }
            Self::ServerKill => {
                stage.carrier.kill();
                pause(random, 0..300);
                stage.carrier.again();
            }
            Self::ServerCut => {
                let mode = if random.random_bool(0.5) { Mode::Cut } else { Mode::Held };
                stage.carrier.set_networks(mode);
                pause(random, 10..300);
                stage.carrier.set_networks(Mode::Open);
            }
            Self::Clocks => {
                let most_s = stage.backend.skew_max_s();
                for member in stage.members() {
                    clock::skew(member, random.random_range(-most_s..most_s));
                }
            }
        }
        stage.settle();
    }
}

/// A random moment, not to wait for anything.
pub(crate) fn pause(random: &mut StdRng, range_ms: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(random.random_range(range_ms)));
}

fn a_follower(stage: &Stage, random: &mut StdRng) -> usize {
    let followers = stage.followers();
    followers[random.random_range(0..followers.len())]
}

fn kill(stage: &mut Stage, random: &mut StdRng) {
    stage.member(stage.primary).signal("KILL");
    let old = stage.fail_over(false);
    pause(random, 0..100);
    stage.restart(old);
    rejoin(stage, old);
}

fn sleep(stage: &mut Stage, random: &mut StdRng) {
    let old = stage.primary;
    stage.member(old).signal("STOP");
    // In some runs it wakes up before anybody was promoted, and has not lost anything.
    if random.random_ratio(1, 6) {
        pause(random, 10..900);
        stage.member(old).signal("CONT");
        return;
    }
    stage.fail_over(false);
    pause(random, 0..150);
    stage.member(old).signal("CONT");
    pause(random, 20..250);
    rejoin(stage, old);
}

fn cut(stage: &mut Stage, random: &mut StdRng, way: Way) {
    let mode = match way {
        Way::BreaksOff => Mode::Cut,
        Way::DeliversLate => Mode::Held,
    };
    let old = stage.primary;
    let set = |stage: &Stage, mode| {
        let is_carried = stage.backend.has_server();
        let networks = if is_carried { &stage.carrier.networks } else { &stage.links };
        networks[old].set(mode);
    };
    set(stage, mode);
    pause(random, 0..150);
    stage.fail_over(false);
    pause(random, 0..150);
    set(stage, Mode::Open);
    pause(random, 0..200);
    rejoin(stage, old);
}

/// The old primary hears who is primary now.
fn rejoin(stage: &mut Stage, old: usize) {
    if stage.follow(old).is_err() {
        // It has ended, as it must where it cannot follow with what it has.
        stage.restart(old);
    }
}
