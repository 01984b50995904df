//! Power is lost, syncs fail and the disk runs full, under a process on a real folder.

use std::env;

use orrery_powerloss::{Image, Random};

use crate::careless::Care;
use crate::stage::{End, Stage, preload};

/// Small segments, so that they are begun, trimmed and used again in every life.
const SIZES: &str = "32768 600 10";
const ROUNDS: u64 = 40;
/// Watched calls in the longest life, and in one that ends while the journal opens.
const CALLS_MAX: u64 = 600;
const CALLS_OPENING: u64 = 40;
/// Syncs in a thousand that fail, in rounds in which anything does.
const EIO: u64 = 8;
/// The same for a process that is careless then.
const EIO_OFTEN: u64 = 60;
/// Rounds in which a careless process must be found out; a handful is enough.
const CARELESS_ROUNDS: u64 = 600;

/// What the rounds were made of.
#[derive(Debug, Default)]
struct Figures {
    lives: u64,
    acknowledged: u64,
    failed: u64,
    outages: u64,
    lost_sectors: u64,
    lost_steps: u64,
    evicted_pages: u64,
}

fn begin(care: Care) -> Stage {
    let stage = Stage::new(care, SIZES);
    Image::begin(&stage.live(), &stage.side()).unwrap();
    stage
}

/// One life, and what comes after it.
fn round(
    stage: &mut Stage,
    random: &mut Random,
    eio: u64,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut command = stage.command();
    preload(&mut command, &stage.live(), &stage.side());
    let calls = if random.chance(250) { CALLS_OPENING } else { CALLS_MAX };
    let [eio, full, short] = if random.chance(400) { [0; 3] } else { [eio, 4, 30] };
    command
        .env("ORRERY_POWERLOSS_SEED", random.number().to_string())
        .env("ORRERY_POWERLOSS_CUT", (1 + random.below(calls)).to_string())
        .env("ORRERY_POWERLOSS_EIO", eio.to_string())
        .env("ORRERY_POWERLOSS_FULL", full.to_string())
        .env("ORRERY_POWERLOSS_SHORT", short.to_string());
    let (life, end) = stage.live_through(&mut command, |_, _| {})?;
    figures.lives += 1;
    figures.acknowledged += life.rounds;
    figures.failed += u64::from(end == End::Failed);
    let mut image = Image::open(&stage.live(), &stage.side()).unwrap();
    match random.below(4) {
        0 => {}
        1 => figures.evicted_pages += image.evict(random).unwrap(),
        _ => {
            let lost = image.lose_power(random).unwrap();
            figures.outages += 1;
            figures.lost_sectors += lost.sectors;
            figures.lost_steps += lost.steps;
        }
    }
    stage.assert_undamaged()
}

fn seed() -> u64 {
    let given = env::var("ORRERY_SHIM_SEED").ok().and_then(|digits| digits.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) << 20)
}

/// Goal: nothing acknowledged is lost or doubled, no history gets shorter without a word, and no crash
/// is taken for damage. Method: the process runs with a preloaded library that notes what it synced,
/// fails its calls and ends it within one of them; then power is lost, or only the process.
#[test]
fn nothing_acknowledged_is_lost_when_power_is() {
    let rounds = env::var("ORRERY_SHIM_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let seed = seed();
    let mut random = Random::new(seed);
    let mut figures = Figures::default();
    let mut stage = begin(Care::Full);
    for number in 0..rounds {
        if let Err(what) = round(&mut stage, &mut random, EIO, &mut figures) {
            let folder = stage.keep();
            panic!("round {number} of ORRERY_SHIM_SEED={seed}: {what}; see {}", folder.display());
        }
    }
    println!("{figures:?}, {} promised", stage.promised());
    assert!(figures.acknowledged > rounds, "they did work: {figures:?}");
    assert!(figures.lost_sectors + figures.lost_steps > 0, "nothing was lost: {figures:?}");
}

/// What gave a careless process away.
fn found_out(care: Care) -> Option<String> {
    let (mut random, mut figures) = (Random::new(seed()), Figures::default());
    let mut stage = begin(care);
    let found = (0..CARELESS_ROUNDS)
        .find_map(|_| round(&mut stage, &mut random, EIO_OFTEN, &mut figures).err());
    println!("{care:?}: {found:?}, {figures:?}");
    found
}

#[test]
fn a_process_that_acknowledges_before_it_syncs_is_found_out() {
    let what = found_out(Care::Early).unwrap();
    assert!(what.contains("are left"), "{what}");
}

#[test]
fn a_process_that_never_syncs_its_files_is_found_out() {
    assert!(found_out(Care::NoSync).is_some());
}

#[test]
fn a_process_that_never_syncs_its_folder_is_found_out() {
    assert!(found_out(Care::NoFolder).is_some());
}

#[test]
fn a_process_that_believes_a_sync_after_a_failed_one_is_found_out() {
    assert!(found_out(Care::Again).is_some());
}
