//! What the embedded store costs on this machine and this disk.
//!
//! `cargo run --release -p stvor-embedded --example throughput -- [directory] [seconds] [--json]`
//!
//! With `--json` only what one save at a time costs, and a bare write: `{"save":…,"bare":…}`, the
//! medians in microseconds.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stvor_embedded::{Key, Store};

/// Bytes of a record: a session in use.
const RECORD: usize = 1200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let directory = root.join(format!("stvor-throughput-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let json = arguments.next().is_some_and(|argument| argument == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let result = runtime.block_on(measure(&directory, Duration::from_secs(seconds), json));
    fs::remove_dir_all(&directory)?;
    result
}

async fn measure(directory: &Path, span: Duration, json: bool) -> Result<(), Box<dyn Error>> {
    let store = Store::open(directory.join("small"), Key::from_bytes([7; 32])).await?;
    let bare = BareFile::create(&directory.join("bare"))?;
    // Turn by turn, so that both see the same disk.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let end = Instant::now() + 2 * span;
    for i in 0u64.. {
        if Instant::now() > end {
            break;
        }
        theirs.push(timed(|| bare.write(i))?);
        let start = Instant::now();
        store.save("alice", [(format!("peer {}", i % 100), [i as u8; RECORD])]).await?;
        ours.push(start.elapsed());
    }
    let (ours, theirs) = (Summary::of(ours), Summary::of(theirs));
    if json {
        println!(r#"{{"save":{:.1},"bare":{:.1}}}"#, ours.median * 1e3, theirs.median * 1e3);
        return Ok(());
    }
    println!("{RECORD} bytes a record; median, and mean, of milliseconds");
    println!("a bare write and fdatasync:   {theirs}");
    println!("a save, one at a time:        {ours}");
    println!(
        "ratio: {:.2} (median), {:.2} (mean)",
        ours.median / theirs.median,
        ours.mean / theirs.mean
    );
    let appending = append(&directory.join("appended"), span)?;
    println!("a bare append and fsync:      {appending}");

    for in_flight in [1, 8, 64, 256] {
        let (mut saves, mut writes) = (Rate::default(), Rate::default());
        for _ in 0..10 {
            writes += bare.writes_per_second(span / 20)?;
            saves += saves_per_second(&store, in_flight, span / 10).await?;
        }
        let times = saves.per_second() / writes.per_second();
        println!(
            "{in_flight:>4} in flight: {:>8.0} saves/s, {times:.1} times one write a save",
            saves.per_second(),
        );
    }
    store.close().await;
    many(directory).await
}

/// What 100,000 peers cost at the start.
async fn many(directory: &Path) -> Result<(), Box<dyn Error>> {
    let path = directory.join("large");
    let store = Store::open(&path, Key::from_bytes([7; 32])).await?;
    for thousand in 0..100 {
        let peers = (0..1000).map(|i| (format!("peer {}", thousand * 1000 + i), [7; RECORD]));
        store.save("alice", peers).await?;
    }
    store.close().await;
    println!("100,000 records: {} MiB", fs::metadata(&path)?.len() >> 20);
    let copy = directory.join("copy");
    for how in ["closed", "left open"] {
        let (start, cpu) = (Instant::now(), processor_ms());
        let store = Store::open(&path, Key::from_bytes([7; 32])).await?;
        println!(
            "opened, after it was {how}: {:.0} ms, {} ms of a processor",
            start.elapsed().as_secs_f64() * 1e3,
            processor_ms() - cpu
        );
        let mut loads = Vec::new();
        for i in 0..1000 {
            let start = Instant::now();
            let record = store.load("alice", &format!("peer {}", i * 97)).await?;
            loads.push(start.elapsed());
            assert!(record.is_some_and(|record| record.len() == RECORD));
        }
        println!("a load: {}", Summary::of(loads));
        store.save("alice", [("peer 1", [8; RECORD])]).await?;
        fs::copy(&path, &copy)?; // as a kill would leave it
        store.close().await;
        fs::rename(&copy, &path)?;
    }
    Ok(())
}

async fn saves_per_second(
    store: &Store,
    in_flight: usize,
    span: Duration,
) -> Result<Rate, Box<dyn Error>> {
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let (store, done) = (store.clone(), done.clone());
            tokio::spawn(async move {
                let peer = format!("peer {task}");
                while start.elapsed() < span {
                    store.save("alice", [(&peer, [task as u8; RECORD])]).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, stvor_embedded::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(Rate { count: done.load(Ordering::Relaxed), time: start.elapsed() })
}

/// How many in how long.
#[derive(Default)]
struct Rate {
    count: u64,
    time: Duration,
}

impl Rate {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

impl std::ops::AddAssign for Rate {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
    }
}

/// A file with all its blocks, in which a write is nothing but a write.
struct BareFile(File);

impl BareFile {
    const LENGTH: u64 = 4 << 20;

    fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; Self::LENGTH as usize])?;
        file.sync_all()?;
        Ok(Self(file))
    }

    fn write(&self, i: u64) -> std::io::Result<()> {
        (&self.0).seek(SeekFrom::Start(i * 4096 % Self::LENGTH))?;
        (&self.0).write_all(&[i as u8; RECORD])?;
        self.0.sync_data()
    }

    fn writes_per_second(&self, span: Duration) -> std::io::Result<Rate> {
        let (mut count, start) = (0, Instant::now());
        while start.elapsed() < span {
            self.write(count)?;
            count += 1;
        }
        Ok(Rate { count, time: start.elapsed() })
    }
}

fn append(path: &Path, span: Duration) -> Result<Summary, Box<dyn Error>> {
    let mut file = File::create(path)?;
    let (mut times, end) = (Vec::new(), Instant::now() + span);
    while Instant::now() < end {
        times.push(timed(|| file.write_all(&[7; RECORD]).and_then(|()| file.sync_all()))?);
    }
    Ok(Summary::of(times))
}

/// What this process has taken of the processors, in milliseconds: on a busy machine the better
/// measure. Fields 14 and 15 of `stat` are hundredths of seconds on every Linux; elsewhere, none.
fn processor_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10
}

fn timed(f: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<Duration> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed())
}

struct Summary {
    median: f64,
    mean: f64,
}

impl Summary {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len().max(1) as f64;
        let median = times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        Self { median, mean }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}, {:.3}", self.median, self.mean)
    }
}
