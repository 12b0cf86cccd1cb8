//! Typing while ten thousand messages a second arrive: every key is seen at once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{deployment::Up, process::Process, pty::Pty};

/// Messages a second.
const RATE: u64 = 10_000;
/// Pause between two handfuls of them.
const TICK: Duration = Duration::from_millis(10);
/// Letters that nothing else on the screen has.
const LETTERS: &[u8] = b"QXZKJWV";
/// Keys of each part.
const KEYS: usize = 300;
/// So many letters stand in the line before it is cleared; the first ones of two lines differ, so that each is drawn.
const LINE: usize = 40;

#[test]
fn every_key_is_seen_while_ten_thousand_messages_a_second_arrive() {
    let up = Up::start(&["--log", "memory"]);
    let ani = up.person("ani");
    let mut pty = Pty::start(ani.command(&["chat", "everyone"]), (80, 24));
    pty.wait(0, "everyone>");
    pty.wait(0, "here");

    let idle = times(&mut pty, 0);
    let flood = Flood::start(up.person("banjir").start(&["send", "everyone", "-"]));
    let from = pty.written();
    pty.wait(from, "banjir");
    let before = flood.acknowledged();
    let begun = Instant::now();
    let flooded = times(&mut pty, KEYS);
    let (arrived, seconds) = (flood.acknowledged() - before, begun.elapsed().as_secs_f64());
    flood.stop();

    println!("key to frame, idle:    {}", told(&idle));
    println!("key to frame, flooded: {}, {:.0} messages/s meanwhile", told(&flooded), arrived as f64 / seconds);
    assert!(arrived > 1_000, "the flood went on while typing: {arrived}");
}

/// How long each of many keys took to be seen, shortest first; `typed`: how many were before.
fn times(pty: &mut Pty, typed: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (typed..typed + KEYS)
        .map(|n| {
            if n % LINE == 0 {
                pty.write(b"\x15");
            }
            let letter = LETTERS[n % LETTERS.len()];
            let from = pty.written();
            pty.write(&[letter]);
            pty.wait(from, std::str::from_utf8(&[letter]).unwrap())
        })
        .collect();
    times.sort_unstable();
    times
}

fn told(times: &[Duration]) -> String {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(0.5), at(0.99), at(1.0))
}

/// Messages at a steady rate, until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    acknowledged: Process,
    writer: thread::JoinHandle<()>,
}

impl Flood {
    fn start(mut sender: Process) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut stdin, stopped) = (sender.take_stdin(), Arc::clone(&stop));
        let writer = thread::spawn(move || {
            let begun = Instant::now();
            let (mut said, mut tick) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                tick += 1;
                // Where the sender is held back, the rate is what it takes.
                let due = RATE * u64::from(tick) * TICK.as_millis() as u64 / 1000;
                let lines: String = (said..due).map(|n| format!("air bah nomor {n}\n")).collect();
                said = due;
                if stdin.write_all(lines.as_bytes()).is_err() {
                    return;
                }
                thread::sleep((begun + TICK * tick).saturating_duration_since(Instant::now()));
            }
        });
        Self { stop, acknowledged: sender, writer }
    }

    /// How many are durable.
    fn acknowledged(&self) -> usize {
        self.acknowledged.stdout_count()
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap();
    }
}
