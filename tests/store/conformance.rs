//! What every store must do, written against `&dyn Store`: a new store is one more line at the end.

use super::{noise, read_all};
#[cfg(feature = "object-storage")]
use crate::buckets::{azure, gateway, s3};
#[cfg(feature = "object-storage")]
use futures_util::TryStreamExt as _;
use litekeeper::error::{Error, Reason, Result};
#[cfg(feature = "object-storage")]
use litekeeper::store::Object;
use litekeeper::store::{Content, Local, Put, Store};
#[cfg(feature = "object-storage")]
use object_store::ObjectStore;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "object-storage")]
use std::{sync::Arc, time::Duration};

fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<Put> {
    store.put(name, &mut |out| {
        out.write_all(bytes).unwrap();
        Ok(Content::New)
    })
}

fn names(store: &dyn Store) -> Vec<String> {
    let mut names: Vec<String> = store.list().unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

fn gives_back_what_was_put(store: &dyn Store) {
    // More than is flushed at once, and no round number.
    let bytes = noise((20 << 20) + 17);
    assert_eq!(put(store, "a.bin", &bytes).unwrap(), Put::Made(bytes.len() as u64));
    assert!(read_all(store.get("a.bin").unwrap()) == bytes);
    let entries = store.list().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].name.as_str(), entries[0].size), ("a.bin", bytes.len() as u64));
    let age = chrono::Utc::now() - entries[0].modified;
    assert!(age.num_minutes().abs() < 10, "modified {age} ago");
}

fn leaves_nothing_of_a_file_that_is_not_wanted_in_the_end(store: &dyn Store) {
    // More than a bucket takes in one part.
    let put = store.put("a", &mut |out| {
        out.write_all(&noise(9 << 20)).unwrap();
        Ok(Content::Same)
    });
    assert_eq!(put.unwrap(), Put::Same);
    assert!(names(store).is_empty());
}

fn keeps_an_empty_file(store: &dyn Store) {
    assert_eq!(put(store, "empty", b"").unwrap(), Put::Made(0));
    assert_eq!(read_all(store.get("empty").unwrap()), b"");
}

fn leaves_nothing_when_the_writer_fails(store: &dyn Store) {
    let failed = store.put("a", &mut |out| {
        out.write_all(&noise(9 << 20)).unwrap();
        Err(Error::new(Reason::Cancelled, "told to stop"))
    });
    let error = failed.unwrap_err();
    assert_eq!((error.reason, error.message.as_str()), (Reason::Cancelled, "told to stop"));
    assert!(names(store).is_empty());
    assert_eq!(store.get("a").err().unwrap().reason, Reason::NotFound);
    // And the name is free.
    put(store, "a", b"second").unwrap();
    assert_eq!(read_all(store.get("a").unwrap()), b"second");
}

fn leaves_nothing_when_the_writer_panics(store: &dyn Store) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.put("a", &mut |out| {
            out.write_all(b"half").unwrap();
            std::panic::resume_unwind(Box::new("a defect"));
        })
    }));
    assert!(panicked.is_err());
    assert!(names(store).is_empty());
}

fn lists_a_file_only_once_it_is_whole(store: &dyn Store) {
    store
        .put("a", &mut |out| {
            out.write_all(&noise(9 << 20)).unwrap();
            out.flush().unwrap();
            assert!(names(store).is_empty());
            assert!(store.get("a").is_err());
            Ok(Content::New)
        })
        .unwrap();
    assert_eq!(names(store), ["a"]);
}

fn refuses_a_name_that_is_taken_before_any_work(store: &dyn Store) {
    put(store, "a", b"first").unwrap();
    let again = store.put("a", &mut |_| panic!("must not be called"));
    assert_eq!(again.unwrap_err().reason, Reason::Refused);
    assert_eq!(read_all(store.get("a").unwrap()), b"first");
}

fn lets_exactly_one_of_several_puts_of_a_name_win(store: &dyn Store) {
    const WRITERS: u8 = 4;
    // All are past the check for a taken name before any ends.
    let inside = Barrier::new(usize::from(WRITERS));
    let won = AtomicUsize::new(0);
    let winner = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (inside, won, winner) = (&inside, &won, &winner);
            scope.spawn(move || {
                let outcome = store.put("a", &mut |out| {
                    inside.wait();
                    out.write_all(&vec![writer; 100_000]).unwrap();
                    Ok(Content::New)
                });
                match outcome {
                    Ok(_) => {
                        won.fetch_add(1, Ordering::SeqCst);
                        winner.store(usize::from(writer), Ordering::SeqCst);
                    }
                    Err(e) => assert_eq!(e.reason, Reason::Refused, "{e}"),
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 1);
    let winner = u8::try_from(winner.into_inner()).unwrap();
    assert!(read_all(store.get("a").unwrap()) == vec![winner; 100_000]);
    assert_eq!(names(store), ["a"]);
}

fn replaces_whole_and_does_not_disturb_a_reader(store: &dyn Store) {
    store.replace("a.json", b"old").unwrap();
    let reader = store.get("a.json").unwrap();
    store.replace("a.json", b"new and longer").unwrap();
    assert_eq!(read_all(reader), b"old");
    assert_eq!(read_all(store.get("a.json").unwrap()), b"new and longer");
    assert_eq!(names(store), ["a.json"]);
}

fn tells_one_file_as_it_lists_it_and_another_version_of_other_content(store: &dyn Store) {
    assert_eq!(store.entry("a").unwrap(), None);
    let mut before = None;
    for content in [b"1", b"2", b"3", b"4"] {
        store.replace("a", content).unwrap();
        let entry = store.entry("a").unwrap().unwrap();
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&entry));
        assert_eq!((entry.name.as_str(), entry.size), ("a", 1));
        assert!(entry.version.is_some() && entry.version != before, "{entry:?} after {before:?}");
        before = entry.version;
    }
    assert_eq!(store.entry("../a").unwrap_err().reason, Reason::Refused);
}

fn deletes_and_says_what_is_not_there(store: &dyn Store) {
    put(store, "a", b"x").unwrap();
    let reader = store.get("a").unwrap();
    store.delete("a").unwrap();
    assert_eq!(read_all(reader), b"x");
    assert!(names(store).is_empty());
    for error in
        [store.delete("a").unwrap_err(), store.get("a").err().unwrap(), store.hold("a").err().unwrap()]
    {
        assert_eq!(error.reason, Reason::NotFound);
        assert!(error.message.contains(&store.place()), "{error}");
    }
}

fn refuses_names_that_could_lie_elsewhere(store: &dyn Store) {
    for name in ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a\nb", "a\0b", &"x".repeat(201)] {
        let refused = [
            store.put(name, &mut |_| panic!("must not be called")).err(),
            store.replace(name, b"").err(),
            store.get(name).err(),
            store.delete(name).err(),
            store.hold(name).err(),
            store.claim(name).err(),
        ];
        for error in refused {
            assert_eq!(error.map(|e| e.reason), Some(Reason::Refused), "{name:?}");
        }
    }
}

fn grants_a_claim_only_while_nobody_holds(store: &dyn Store) {
    put(store, "a", b"x").unwrap();
    let first = store.hold("a").unwrap();
    let second = store.hold("a").unwrap();
    assert!(store.claim("a").unwrap().is_none());
    drop(first);
    assert!(store.claim("a").unwrap().is_none());
    drop(second);
    let claim = store.claim("a").unwrap();
    assert!(claim.is_some());
    assert!(store.claim("a").unwrap().is_none(), "two may not remove one file");
    drop(claim);
    drop(store.hold("a").unwrap());
}

fn lets_one_edit_at_a_time(store: &dyn Store) {
    const EDITS: usize = 20;
    store.replace("n", b"0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EDITS {
                    let _edit = store.edit().unwrap();
                    let n: usize =
                        String::from_utf8(read_all(store.get("n").unwrap())).unwrap().parse().unwrap();
                    store.replace("n", (n + 1).to_string().as_bytes()).unwrap();
                }
            });
        }
    });
    assert_eq!(read_all(store.get("n").unwrap()), (2 * EDITS).to_string().as_bytes());
    assert_eq!(names(store), ["n"]);
}

macro_rules! conformance {
    ($store:ident, $with:expr) => {
        mod $store {
            conformance!(@tests $with;
                gives_back_what_was_put
                leaves_nothing_of_a_file_that_is_not_wanted_in_the_end
                keeps_an_empty_file
                leaves_nothing_when_the_writer_fails
                leaves_nothing_when_the_writer_panics
                lists_a_file_only_once_it_is_whole
                refuses_a_name_that_is_taken_before_any_work
                lets_exactly_one_of_several_puts_of_a_name_win
                replaces_whole_and_does_not_disturb_a_reader
                tells_one_file_as_it_lists_it_and_another_version_of_other_content
                deletes_and_says_what_is_not_there
                refuses_names_that_could_lie_elsewhere
                grants_a_claim_only_while_nobody_holds
                lets_one_edit_at_a_time
            );
        }
    };
    (@tests $with:expr; $($test:ident)*) => {
        $(#[test]
        fn $test() {
            $with(super::$test);
        })*
    };
}

fn with_local(test: fn(&dyn Store)) {
    let base = tempfile::tempdir().unwrap();
    let store = Local::create(&base.path().join("backups"), "app").unwrap();
    test(&store);
    let left: Vec<_> = std::fs::read_dir(base.path().join("backups/app"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tmp-"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

conformance!(local, super::with_local);

/// A bucket of the client library's own, which keeps to what S3 documents.
#[cfg(feature = "object-storage")]
fn with_memory(test: fn(&dyn Store)) {
    let client = Arc::new(object_store::memory::InMemory::new());
    test(&Object::over(client, "backups/here", "app", "memory://backups/here/app".to_owned()).unwrap());
}

#[cfg(feature = "object-storage")]
conformance!(memory, super::with_memory);

/// A real server.
#[cfg(feature = "object-storage")]
fn with_s3(test: fn(&dyn Store)) {
    let Some(server) = s3::server() else { return };
    let bucket = server.bucket();
    let client = s3::client(server.address, &bucket, Duration::from_secs(60));
    let place = format!("s3://{bucket}/backups/here/app");
    test(&Object::over(Arc::clone(&client), "backups/here", "app", place).unwrap());
    assert_eq!(server.unfinished_uploads(&bucket), 0);
    leaves_no_locks(&client);
}

#[cfg(feature = "object-storage")]
conformance!(s3_server, super::with_s3);

/// The server of Microsoft's emulator.
#[cfg(feature = "object-storage")]
fn with_azure(test: fn(&dyn Store)) {
    let Some(server) = azure::server() else { return };
    let container = server.container();
    let client = server.client(&container, Duration::from_secs(60));
    let place = format!("az://{container}/backups/here/app");
    test(&Object::over(Arc::clone(&client), "backups/here", "app", place).unwrap());
    leaves_no_locks(&client);
}

#[cfg(feature = "object-storage")]
conformance!(azure_server, super::with_azure);

/// Google's client, before a server of what Google's XML interface has in common with S3's: see
/// [`gateway`].
#[cfg(feature = "object-storage")]
fn with_google(test: fn(&dyn Store)) {
    let Some(server) = s3::server() else { return };
    let bucket = server.bucket();
    let client = gateway::client_of_google(
        gateway::Gateway::of_google(server).address,
        &bucket,
        Duration::from_secs(60),
    );
    let place = format!("gs://{bucket}/backups/here/app");
    test(&Object::over(Arc::clone(&client), "backups/here", "app", place).unwrap());
    assert_eq!(server.unfinished_uploads(&bucket), 0);
    leaves_no_locks(&client);
}

#[cfg(feature = "object-storage")]
conformance!(google_server, super::with_google);

#[cfg(feature = "object-storage")]
fn leaves_no_locks(client: &Arc<dyn ObjectStore>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = runtime.block_on(client.list(None).try_collect::<Vec<_>>()).unwrap();
    let left: Vec<_> = all.iter().filter(|object| object.location.as_ref().contains("/.locks/")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
