//! The files of `fuzz/`: seeds, and inputs that once broke something; and mutations of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::seeds::{self, Sources};

/// The repository's root.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository")
}

/// Where a target's seeds are.
pub fn seeds_of(target: &str) -> PathBuf {
    repository().join("fuzz/seeds").join(target)
}

/// Where the inputs are that once broke a target.
pub fn regressions_of(target: &str) -> PathBuf {
    repository().join("fuzz/regressions").join(target)
}

/// The files in a folder, by name; none if there is no such folder.
pub fn files(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, fs::read(&path)?);
    }
    Ok(files)
}

/// What the seeds are made from, as it is in the repository.
pub fn sources() -> io::Result<Sources> {
    let root = repository();
    let names = ["http", "websocket", "signatures", "protobuf", "redis"];
    let read = |name: &&str| -> io::Result<serde_json::Value> {
        let text = fs::read_to_string(root.join(format!("tests/vectors/{name}.json")))?;
        serde_json::from_str(&text).map_err(io::Error::other)
    };
    Ok(Sources {
        vectors: names.iter().map(read).collect::<io::Result<_>>()?,
        configuration: fs::read_to_string(root.join("nginx-conf/push-sidecar.toml"))?,
        portal: fs::read_to_string(root.join("tests/samples/documented/settings.php"))?,
    })
}

/// Writes the seeds anew. Returns how many there are.
pub fn write_seeds() -> io::Result<usize> {
    let mut count = 0;
    for (target, seeds) in seeds::all(&sources()?) {
        let folder = seeds_of(target);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
            count += 1;
        }
    }
    Ok(count)
}

/// An endless row of inputs like this one: the same with every seed.
pub fn mutations(input: &[u8], seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(seed | 1);
    let input = input.to_vec();
    std::iter::repeat_with(move || {
        let mut bytes = input.clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        bytes
    })
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let run = 1 + random.below(8).min(bytes.len() - at);
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..(at + run).min(bytes.len()))),
        4 => {
            let piece = bytes[at..(at + run).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => bytes.insert(at, random.below(256) as u8),
    }
}

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
