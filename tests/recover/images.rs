//! SQLite's own corrupt images, from its source, and thousands of mutations of ours: none makes the
//! reader or the salvage panic, run without end or take memory without bound, and none that SQLite
//! finds damaged is called sound.

use super::damage::damage;
use super::rows::{self, Held};
use super::{beside_the_shell, databases};
use crate::support::keeper::Keeper;
use crate::support::restoring::beside;
use crate::support::sandbox::Sandbox;
use crate::support::skip;
use litekeeper::config::Integrity;
use litekeeper::jobs;
use litekeeper::pool::Call;
use litekeeper::sqlite::pages::{Database, Fields, Freelist, MAGIC, payload};
use litekeeper::state::facts::DAMAGED_INDEXES;
use litekeeper::terms::Verdict;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// There are ten thousand of them, more than a test has time for: every so many is looked at, or
/// all of them with `LITEKEEPER_ALL_IMAGES=1` in the environment.
const EVERY: usize = 24;

/// Calls `look` with every so many of the images: the `.db` files of SQLite's source and those that
/// its tests of corruption make, and what lies in them, by their place there. How many there are.
fn each_image(every: usize, mut look: impl FnMut(&str, &[u8])) -> Option<usize> {
    let source = beside_the_shell::shell()?.parent()?.join("test");
    let mut files: Vec<PathBuf> = fs::read_dir(source).ok()?.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut count = 0;
    let mut one = |name: &str, bytes: &[u8]| {
        if !bytes.is_empty() && count % every == 0 {
            look(name, bytes);
        }
        count += usize::from(!bytes.is_empty());
    };
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "db")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let packed = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let packed = packed.prepare("SELECT dbid, dbcontent FROM db ORDER BY dbid");
        let Ok(mut packed) = packed else {
            one(name, &fs::read(file).unwrap());
            continue;
        };
        let mut rows = packed.query([]).unwrap();
        while let Ok(Some(row)) = rows.next() {
            let (id, bytes): (i64, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            one(&format!("{name} {id}"), &bytes);
        }
    }
    Some(count)
}

/// Reads all there is to read of these bytes.
pub fn read_all(bytes: &[u8]) {
    let holder = Held(bytes);
    let Some(database) = Database::open(&holder) else { return };
    let free = Freelist::read(&database);
    assert!(free.pages.len() <= database.count as usize);
    for number in 0..=database.count.min(5_000) + 1 {
        let _ = (database.pointer(number), database.is_reserved(number));
        let Some(page) = database.tree_page(number) else { continue };
        for at in 0..=page.len() {
            let _ = page.cell_by_record(at);
            let Some(cell) = page.cell(at) else { continue };
            let record = payload(&database, &page, &cell);
            assert!(record.bytes.len() <= bytes.len() + 2 * 65_536, "more than there is");
            if let Some(fields) = Fields::read(&record.bytes) {
                let _ = fields.values(&record.bytes, database.layout.encoding);
            }
        }
    }
}

/// What the fuzz targets met, made again by the few bytes that matter.
#[test]
fn a_header_that_reserves_more_than_a_page_has_is_read_without_harm() {
    let mut bytes = vec![0; 200];
    bytes[..16].copy_from_slice(MAGIC);
    bytes[16..24].copy_from_slice(&[0, 2, 1, 1, 255, 64, 32, 32]);
    read_all(&bytes);
    rows::salvaged(&bytes);
}

#[test]
fn thousands_of_mutations_are_read_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    for (number, name) in databases::NAMES.into_iter().enumerate() {
        let path = dir.path().join(name);
        databases::create(name, &path);
        let sound = fs::read(&path).unwrap();
        let page = [4096, 1024, 2048][number];
        let sound = &sound[..40 * page];
        for seed in 10_000..11_000 {
            // One on top of the other.
            let once = damage(sound, page, &[], seed).bytes;
            let twice = if once.len() >= 3 * page { damage(&once, page, &[], seed / 3).bytes } else { once };
            read_all(&twice);
        }
    }
}

/// By the whole program, so that a crash, a hang and the memory are seen from outside; and what the
/// checks of the daemon and of a backup say of it.
#[tokio::test]
async fn sqlites_own_corrupt_images_are_salvaged_or_refused_and_never_called_sound() {
    let every = if std::env::var_os("LITEKEEPER_ALL_IMAGES").is_some() { 1 } else { EVERY };
    let mut keeper = Keeper::new(Sandbox::empty());
    let mut looks = Looks::default();
    let mut images = Vec::new();
    let Some(all) = each_image(every, |name, bytes| images.push((name.to_owned(), bytes.to_owned()))) else {
        return skip("SQLite's source is not there; tests/run test fetches it");
    };
    assert!(all > 1000, "only {all}");
    for (name, bytes) in &images {
        read_all(bytes);
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&keeper.sandbox.database(), suffix));
        }
        fs::write(keeper.sandbox.database(), bytes).unwrap();
        looks.recover(name, &keeper.sandbox);
        // Judged before anybody could change it, and the program changed nothing.
        assert_eq!(&fs::read(keeper.sandbox.database()).unwrap(), bytes, "{name}");
        looks.judge(name, &mut keeper).await;
    }
    println!("{} of {all} images: {:?}", images.len(), looks.results);
    println!("slowest {} s, largest {} KiB", looks.slowest, looks.largest);
    assert!(looks.wrong.is_empty(), "{}", looks.wrong.join("\n"));
}

/// What became of the images.
#[derive(Default)]
struct Looks {
    results: BTreeMap<String, usize>,
    wrong: Vec<String>,
    slowest: f64,
    largest: u64,
}

impl Looks {
    fn count(&mut self, what: String) {
        *self.results.entry(what).or_default() += 1;
    }

    fn recover(&mut self, name: &str, sandbox: &Sandbox) {
        let (file, to, measured) =
            (sandbox.database(), sandbox.path().join("new"), sandbox.path().join("time"));
        let _ = fs::remove_file(&to);
        // 1 GiB of address space, and a minute.
        let limited = "ulimit -v 1048576; exec /usr/bin/time -q -f '%e %M' -o \"$3\" \
                       timeout 60 \"$0\" --json recover --file \"$1\" --to \"$2\"";
        let mut command = std::process::Command::new("bash");
        command.args(["-c", limited, env!("CARGO_BIN_EXE_litekeeper")]).args([&file, &to, &measured]);
        let output = command.output().unwrap();
        let code = output.status.code();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !matches!(code, Some(0 | 1 | 3 | 12)) || text.contains("panicked") || json.is_null() {
            return self.wrong.push(format!("{name}: {:?} {text}", output.status));
        }
        let measured = fs::read_to_string(measured).unwrap_or_default();
        if let Some((seconds, size)) = measured.trim().split_once(' ') {
            self.slowest = self.slowest.max(seconds.parse().unwrap());
            self.largest = self.largest.max(size.parse().unwrap());
        }
        let result = json["detail"]["result"].as_str().unwrap_or("error").to_owned();
        if result == "sound" && integrity(&file).as_deref() != Ok("ok") {
            self.wrong.push(format!("{name} is called sound by recover: {:?}", integrity(&file)));
        }
        // A virtual table that cannot be opened cannot be checked: told, and not called sound.
        let is_told = code == Some(12) || json["detail"]["unchecked"].is_array();
        if result == "salvaged" && !is_told && integrity(&to).as_deref() != Ok("ok") {
            self.wrong.push(format!("what was made of {name}: {:?}", integrity(&to)));
        }
        self.count(format!("recover: {result} {}", code.unwrap_or(-1)));
    }

    async fn judge(&mut self, name: &str, keeper: &mut Keeper) {
        let file = keeper.sandbox.database();
        let (full, quick) = (integrity(&file), pragma(&file, "quick_check"));
        for (level, of_sqlite) in [(Integrity::Full, &full), (Integrity::Quick, &quick)] {
            keeper.database.health.integrity = level;
            keeper.pretend(DAMAGED_INDEXES, &Vec::new());
            keeper.run(jobs::integrity::Integrity).await;
            let (verdict, detail) = keeper.check("integrity");
            if verdict == Verdict::Good && of_sqlite.as_deref() != Ok("ok") {
                self.wrong
                    .push(format!("{name} is called good by health ({level:?}): {detail}, {of_sqlite:?}"));
            }
            self.count(format!("health {level:?}: {verdict:?}"));
        }
        let call = Call::new("verify", &CancellationToken::new(), None);
        let verified = jobs::verify::check(&file, None, &call);
        // A row that breaks a constraint is no fault of a backup, and said.
        let is_told = |good: &String| full.as_ref().is_ok_and(|full| full == "ok" || good.contains(full));
        if verified.as_ref().is_ok_and(|good| !is_told(good)) {
            self.wrong.push(format!("{name} is called good by verify: {verified:?}, {full:?}"));
        }
        self.count(format!("verify: {}", if verified.is_ok() { "good" } else { "not" }));
    }
}

/// What SQLite's own check says first of a file.
fn integrity(path: &Path) -> Result<String, String> {
    pragma(path, "integrity_check")
}

fn pragma(path: &Path, pragma: &str) -> Result<String, String> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| e.to_string())?;
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).map_err(|e| e.to_string())
}

/// Salvage too, in this process: what a mutation does to the schema is executed.
#[test]
fn hundreds_of_mutations_are_salvaged_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    databases::create("shop", &path);
    let sound = fs::read(&path).unwrap();
    for seed in 0..100 {
        let once = damage(&sound, 2048, &[], 20_000 + seed).bytes;
        if once.len() >= 3 * 2048 {
            rows::salvaged(&damage(&once, 2048, &[], 30_000 + seed).bytes);
        }
    }
}
