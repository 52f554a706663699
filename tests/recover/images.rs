//! SQLite's own corrupt images, from its source, and thousands of mutations of ours: none makes the reader or the salvage
//! panic, run without end or take memory without bound, and none that SQLite finds damaged is called sound.

use super::damage::damage;
use super::rows::{self, Held};
use super::support::sandbox::Sandbox;
use super::support::skip;
use super::{beside_the_shell, databases};
use litekeeper::sqlite::pages::{Database, Fields, Freelist, payload};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// There are ten thousand of them, more than a test has time for: every so many is looked at, or all of them with
/// `LITEKEEPER_ALL_IMAGES=1` in the environment.
const EVERY: usize = 24;

/// The images in the `fuzzdata` databases of SQLite's source, by their place there.
fn images() -> Option<Vec<(String, Vec<u8>)>> {
    let source = beside_the_shell::shell()?.parent()?.join("test");
    let mut images = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(source).ok()?.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "db")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        images.push((name.to_owned(), fs::read(file).unwrap()));
        let Ok(connection) = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY) else {
            continue;
        };
        let Ok(mut statement) = connection.prepare("SELECT dbid, dbcontent FROM db ORDER BY dbid") else {
            continue;
        };
        let found =
            statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        images.extend(found.filter_map(Result::ok).map(|(id, bytes)| (format!("{name} {id}"), bytes)));
    }
    Some(images.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect())
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

/// By the whole program, so that a crash, a hang and the memory are seen from outside.
#[test]
fn sqlites_own_corrupt_images_are_salvaged_or_refused_and_never_called_sound() {
    let Some(images) = images() else {
        return skip("SQLite's source is not there; tests/run test fetches it");
    };
    assert!(images.len() > 1000, "only {}", images.len());
    let sandbox = Sandbox::empty();
    let (file, to) = (sandbox.path().join("image"), sandbox.path().join("new"));
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    let every = if std::env::var_os("LITEKEEPER_ALL_IMAGES").is_some() { 1 } else { EVERY };
    for (name, bytes) in images.iter().step_by(every) {
        read_all(bytes);
        fs::write(&file, bytes).unwrap();
        let _ = fs::remove_file(&to);
        // 1 GiB of address space, and a minute.
        let limited = "ulimit -v 1048576; exec timeout 60 \"$0\" --json recover --file \"$1\" --to \"$2\"";
        let mut command = std::process::Command::new("bash");
        command.args(["-c", limited, env!("CARGO_BIN_EXE_litekeeper")]).args([&file, &to]);
        let output = command.output().unwrap();
        let code = output.status.code();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(code, Some(0 | 1 | 3 | 12)), "{name}: {:?} {text}", output.status);
        assert!(!text.contains("panicked"), "{name}: {text}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let result = json["detail"]["result"].as_str().unwrap_or("error").to_owned();
        if result == "sound" {
            assert_eq!(integrity(&file).as_deref(), Ok("ok"), "{name} is called sound");
        }
        if result == "salvaged" && code != Some(12) {
            assert_eq!(integrity(&to).as_deref(), Ok("ok"), "what was made of {name}");
        }
        *results.entry(format!("{result} {}", code.unwrap_or(-1))).or_default() += 1;
    }
    println!("{} of {} images: {results:?}", images.len().div_ceil(every), images.len());
}

fn integrity(path: &Path) -> Result<String, String> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| e.to_string())?;
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|e| e.to_string())
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
