//! The cost of a translation, beside that of Kubernetes' own library in the same run (`make bench-translation`).
//!
//! `bench make COUNT` writes PersistentVolumes, one on each line; `bench stream` and `bench memory` translate what they read
//! and report CPU time for each, allocations and peak memory; `bench compare OURS THEIRS` makes the table.
#![expect(
    unsafe_code,
    reason = "an allocator that counts is one by being unsafe"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, Write, stderr, stdin, stdout};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// There is one thread, so that a load and a store are enough, and cost next to nothing.
fn count() {
    ALLOCATIONS.store(ALLOCATIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", count] => make(count.parse()?),
        ["stream"] => stream(),
        ["memory"] => memory(),
        ["compare", theirs, volumes] => compare(theirs, volumes),
        _ => Err("make COUNT, stream, memory, or compare THEIRS VOLUMES".into()),
    }
}

/// Volumes as clusters have them: labels, affinity, a claim; seven plugins in turn.
fn make(count: usize) -> Outcome {
    let sources = [
        r#""awsElasticBlockStore":{"volumeID":"aws://us-east-1a/vol-NUMBER","fsType":"ext4"}"#,
        r#""gcePersistentDisk":{"pdName":"disk-NUMBER","fsType":"ext4"}"#,
        r#""cinder":{"volumeID":"8f1a-NUMBER","fsType":"xfs"}"#,
        r#""azureDisk":{"diskName":"d","diskURI":"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/dNUMBER","cachingMode":"ReadOnly","fsType":"ext4","kind":"Managed","readOnly":false}"#,
        r#""azureFile":{"secretName":"azure-storage-account-a-secret","shareName":"shareNUMBER","secretNamespace":"ns"}"#,
        r#""vsphereVolume":{"volumePath":"[ds1] kubevols/NUMBER.vmdk","fsType":"ext4","storagePolicyName":"gold"}"#,
        r#""portworxVolume":{"volumeID":"NUMBER","fsType":"ext4"}"#,
    ];
    let mut out = std::io::BufWriter::new(stdout().lock());
    for number in 0..count {
        let zone = if number % 7 == 1 {
            "us-central1-a"
        } else {
            "us-east-1a"
        };
        let source = sources[number % 7].replace("NUMBER", &number.to_string());
        writeln!(
            out,
            r#"{{"apiVersion":"v1","kind":"PersistentVolume","metadata":{{"name":"pvc-{number}","uid":"0b2e5e5c-{number}","labels":{{"topology.kubernetes.io/zone":"{zone}","app":"db"}},"annotations":{{"pv.kubernetes.io/provisioned-by":"x"}},"finalizers":["kubernetes.io/pv-protection"],"creationTimestamp":"2021-03-04T05:06:07Z"}},"spec":{{"capacity":{{"storage":"10Gi"}},{source},"accessModes":["ReadWriteOnce"],"claimRef":{{"kind":"PersistentVolumeClaim","namespace":"ns","name":"c-{number}","uid":"u","apiVersion":"v1"}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"gp2","volumeMode":"Filesystem","nodeAffinity":{{"required":{{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"topology.kubernetes.io/zone","operator":"In","values":["{zone}"]}}]}}]}}}}}},"status":{{"phase":"Bound"}}}}"#
        )?;
    }
    Ok(())
}

fn stream() -> Outcome {
    let translator = csi_translation::newest();
    let mut input = stdin().lock();
    let mut out = stdout().lock();
    let mut text = Vec::with_capacity(1 << 17);
    let mut line = Vec::new();
    let mut count: u32 = 0;
    let (begin, allocations) = (cpu()?, ALLOCATIONS.load(Ordering::Relaxed));
    while input.read_until(b'\n', &mut line)? > 0 {
        let pv: PersistentVolume = serde_json::from_slice(&line)?;
        if let Ok(translated) = translator.pv_into_csi(pv) {
            serde_json::to_writer(&mut text, &translated)?;
            text.push(b'\n');
            if text.len() > 1 << 16 {
                out.write_all(&text)?;
                text.clear();
            }
        }
        line.clear();
        count += 1;
    }
    out.write_all(&text)?;
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    report(count, &[cpu()?.saturating_sub(begin)])?;
    write!(stderr(), "{} ", allocated / u64::from(count.max(1)))?;
    Ok(())
}

/// How many volumes are in memory, and how often each is translated: so few that the memory of the results is used again.
const IN_MEMORY: usize = 1_000;
const ROUNDS: u32 = 100;

fn memory() -> Outcome {
    let translator = csi_translation::newest();
    let volumes = stdin()
        .lock()
        .lines()
        .take(IN_MEMORY)
        .map(|line| Ok(serde_json::from_str(&line?)?));
    let volumes = volumes.collect::<Outcome<Vec<PersistentVolume>>>()?;
    let translated = volumes
        .iter()
        .map(|pv| translator.pv_to_csi(pv))
        .collect::<Result<Vec<_>, _>>()?;
    let there = timed(|| {
        for pv in &volumes {
            std::hint::black_box(translator.pv_to_csi(pv)).ok();
        }
    })?;
    let back = timed(|| {
        for pv in &translated {
            std::hint::black_box(translator.pv_to_in_tree(pv)).ok();
        }
    })?;
    let mut owned = Duration::ZERO;
    for _ in 0..ROUNDS {
        let copies = volumes.clone();
        let begin = cpu()?;
        for pv in copies {
            std::hint::black_box(translator.pv_into_csi(pv)).ok();
        }
        owned += cpu()?.saturating_sub(begin);
    }
    let count = u32::try_from(volumes.len())? * ROUNDS;
    report(count, &[there, back, owned])
}

fn timed(work: impl Fn()) -> Outcome<Duration> {
    let begin = cpu()?;
    (0..ROUNDS).for_each(|_| work());
    Ok(cpu()?.saturating_sub(begin))
}

/// The cost of each volume in microseconds.
fn report(count: u32, costs: &[Duration]) -> Outcome {
    for cost in costs {
        write!(
            stderr(),
            "{:.3} ",
            cost.as_secs_f64() * 1e6 / f64::from(count.max(1))
        )?;
    }
    Ok(())
}

/// What this process has used of processors, in ticks of the scheduler's clock.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Runs both sides several times in turn, and shows the best of each.
fn compare(theirs: &str, volumes: &str) -> Outcome {
    let ours = std::env::current_exe()?.display().to_string();
    let mut rows: [Vec<Vec<f64>>; 4] = Default::default();
    for _ in 0..5 {
        rows[0].push(run(&ours, &["stream"], volumes)?);
        rows[1].push(run(theirs, &["-bench", "stream"], volumes)?);
        rows[2].push(run(&ours, &["memory"], volumes)?);
        rows[3].push(run(theirs, &["-bench", "memory"], volumes)?);
    }
    let best = |row: usize, column: usize| {
        rows[row]
            .iter()
            .map(|it| it[column])
            .fold(f64::INFINITY, f64::min)
    };
    let mut out = stdout();
    writeln!(
        out,
        "CPU for each volume, best of 5 rounds        ours        Go    ratio   goal"
    )?;
    let mut line = |name: &str, ours: f64, theirs: f64, goal: f64| {
        writeln!(
            out,
            "{name:<38} {ours:8.2} µs {theirs:6.2} µs  {:5.1} x  {goal:3.0} x",
            theirs / ours
        )
    };
    line("JSON -> translated -> JSON", best(0, 0), best(1, 0), 5.0)?;
    line("in memory, to CSI", best(2, 0), best(3, 0), 3.0)?;
    line("in memory, to in-tree", best(2, 1), best(3, 1), 3.0)?;
    line(
        "in memory, to CSI, nothing copied",
        best(2, 2),
        best(3, 0),
        3.0,
    )?;
    let peak = |row: usize| {
        rows[row]
            .iter()
            .filter_map(|it| it.last())
            .fold(f64::INFINITY, |a, b| a.min(*b))
    };
    writeln!(
        out,
        "allocations for each volume, streaming: {}",
        best(0, 1)
    )?;
    writeln!(
        out,
        "peak memory, streaming: ours {:.1} MiB, Go {:.1} MiB",
        peak(0),
        peak(1)
    )?;
    Ok(())
}

/// What a side reports, and its peak memory in MiB at the end.
#[expect(
    clippy::disallowed_methods,
    reason = "both sides are programs of their own"
)]
fn run(program: &str, arguments: &[&str], volumes: &str) -> Outcome<Vec<f64>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::fs::File::open(volumes)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let highest = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib =
            highest.and_then(|it| it.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stderr)?;
    let mut numbers = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<f64>, _>>()?;
    numbers.push(peak);
    Ok(numbers)
}
