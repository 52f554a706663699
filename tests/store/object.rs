//! A bucket behind a network and a server that fail.

use super::{noise, read_all};
use crate::buckets::azure::{self, Azurite};
use crate::buckets::gateway::{Gateway, client_of_google};
use crate::buckets::s3::{self, Fault, KEY, Proxy, SECRET, Server};
use litekeeper::error::{Error, Reason};
use litekeeper::store::{Content, Object, Put, Store};
use object_store::ObjectStore;
use std::io::Write;
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

struct Faulty {
    server: Server,
    proxy: Proxy,
    bucket: String,
    store: Object,
}

/// A store behind a proxy; `None` where there is no server.
fn faulty() -> Option<Faulty> {
    faulty_within(Duration::from_secs(60))
}

fn faulty_within(timeout: Duration) -> Option<Faulty> {
    let server = s3::server()?;
    let (proxy, bucket) = (Proxy::before(server), server.bucket());
    let client = s3::client(proxy.address, &bucket, timeout);
    let store = Object::over(client, "", "app", format!("s3://{bucket}/app")).unwrap();
    Some(Faulty { server, proxy, bucket, store })
}

fn put(store: &Object, name: &str, bytes: &[u8]) -> litekeeper::error::Result<Put> {
    let mut write = |out: &mut dyn Write| {
        out.write_all(bytes).map(|()| Content::New).map_err(|e| Error::io("the writer", &e))
    };
    store.put(name, &mut write)
}

fn says(error: &Error, reason: Reason, text: &str) {
    assert_eq!(error.reason, reason, "{error}");
    assert!(error.message.contains(text), "{error}");
    assert!(!error.message.contains(SECRET) && !error.message.contains(KEY), "{error}");
}

#[test]
fn a_part_that_breaks_off_is_sent_again() {
    let Some(Faulty { server, proxy, bucket, store }) = faulty() else { return };
    let bytes = noise(20 << 20);
    proxy.fail(Fault::CutUp(3 << 20), 2);
    assert_eq!(put(&store, "a", &bytes).unwrap(), Put::Made(bytes.len() as u64));
    assert_eq!(proxy.faults(), 2);
    assert!(read_all(store.get("a").unwrap()) == bytes);
    assert_eq!(server.unfinished_uploads(&bucket), 0);
}

#[test]
fn a_file_that_is_there_though_the_answer_was_lost_is_no_error() {
    let Some(Faulty { server, proxy, bucket, store }) = faulty() else { return };
    let bytes = noise(9 << 20);
    // With each attempt.
    proxy.fail(Fault::LoseCompletion, 4);
    assert_eq!(put(&store, "a", &bytes).unwrap(), Put::Made(bytes.len() as u64));
    assert_eq!(proxy.faults(), 4);
    assert!(read_all(store.get("a").unwrap()) == bytes);
    assert_eq!(server.unfinished_uploads(&bucket), 0);
}

#[test]
fn a_server_that_is_busy_for_a_while_is_asked_again() {
    let Some(Faulty { proxy, store, .. }) = faulty() else { return };
    for status in [500, 503, 429] {
        let name = format!("a{status}");
        for work in [
            &(|| assert_eq!(put(&store, &name, b"x").unwrap(), Put::Made(1))) as &dyn Fn(),
            &|| drop(store.list().unwrap()),
            &|| assert_eq!(read_all(store.get(&name).unwrap()), b"x"),
            &|| store.replace("m.json", b"{}").unwrap(),
            &|| drop(store.hold(&name).unwrap()),
            &|| drop(store.edit().unwrap()),
            &|| store.delete(&name).unwrap(),
        ] {
            let before = proxy.faults();
            proxy.fail(Fault::Status(status), 2);
            work();
            assert_eq!(proxy.faults() - before, 2);
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_asked_again() {
    let Some(Faulty { proxy, store, .. }) = faulty_within(Duration::from_secs(2)) else { return };
    put(&store, "a", b"x").unwrap();
    proxy.fail(Fault::Stall, 1);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(proxy.faults(), 1);
}

#[test]
fn a_server_that_dies_in_mid_upload_leaves_nothing_listed_and_is_an_error() {
    let Some(Faulty { server, proxy, bucket, store }) = faulty() else { return };
    let error = store
        .put("a", &mut |out| {
            out.write_all(&noise(9 << 20)).unwrap();
            proxy.fail(Fault::Close, u32::MAX);
            out.write_all(&noise(30 << 20)).map(|()| Content::New).map_err(|e| Error::io("the writer", &e))
        })
        .unwrap_err();
    says(&error, Reason::Io, &format!("cannot write s3://{bucket}/app/a: "));
    proxy.heal();
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.get("a").err().unwrap().reason, Reason::NotFound);
    assert_eq!(server.keys(&bucket), Vec::<String>::new());
    // And the name is free.
    put(&store, "a", b"second").unwrap();
    assert_eq!(read_all(store.get("a").unwrap()), b"second");
}

#[test]
fn an_upload_that_is_given_up_is_aborted() {
    let Some(Faulty { server, proxy: _proxy, bucket, store }) = faulty() else { return };
    let error = store.put("a", &mut |out| {
        out.write_all(&noise(17 << 20)).unwrap();
        assert_eq!(server.unfinished_uploads(&bucket), 1);
        Err(Error::new(Reason::Cancelled, "told to stop"))
    });
    assert_eq!(error.unwrap_err().reason, Reason::Cancelled);
    assert_eq!(server.unfinished_uploads(&bucket), 0);
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let Some(Faulty { proxy, store, .. }) = faulty() else { return };
    let bytes = noise(20 << 20);
    put(&store, "a", &bytes).unwrap();
    let before = proxy.bytes_down();
    proxy.fail(Fault::CutDown(3 << 20), 3);
    assert!(read_all(store.get("a").unwrap()) == bytes);
    assert_eq!(proxy.faults(), 3);
    let brought = proxy.bytes_down() - before;
    // What was cut off on its way comes twice, at most what a socket holds; not the 15 MiB that had
    // arrived.
    assert!(brought < (26 << 20), "{brought} bytes for {}", bytes.len());
}

#[test]
fn a_download_that_cannot_go_on_is_an_error_and_says_nothing_of_damage() {
    let Some(Faulty { proxy, bucket, store, .. }) = faulty() else { return };
    put(&store, "a", &noise(40 << 20)).unwrap();
    let mut reader = store.get("a").unwrap();
    proxy.fail(Fault::Close, u32::MAX);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(!matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData), "{error:?}");
    assert!(error.to_string().contains(&format!("cannot read s3://{bucket}/app/a: ")), "{error}");
}

#[test]
fn a_large_file_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one() {
    let Some(Faulty { store, proxy: _proxy, .. }) = faulty() else { return };
    put(&store, "a", &noise(40 << 20)).unwrap();
    let mut reader = store.get("a").unwrap();
    store.replace("a", &vec![7; 40 << 20]).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("was replaced while it was read"), "{error}");
}

#[test]
fn what_does_not_go_away_is_a_clear_error() {
    let Some(Faulty { proxy, bucket, store, .. }) = faulty() else { return };
    for (fault, reason, text) in [
        (Fault::Status(500), Reason::Io, "the server says 500"),
        (Fault::Status(403), Reason::Permission, "the server says 403"),
        (Fault::Close, Reason::Io, "cannot list s3://"),
    ] {
        proxy.fail(fault, u32::MAX);
        says(&store.list().unwrap_err(), reason, text);
        says(&put(&store, "a", b"x").unwrap_err(), reason, "");
        says(&store.edit().err().unwrap(), reason, "cannot lock");
    }
    proxy.heal();
    assert!(store.list().unwrap().is_empty());

    let nowhere = s3::client(([127, 0, 0, 1], 1).into(), &bucket, Duration::from_secs(60));
    let store = Object::over(nowhere, "", "app", format!("s3://{bucket}/app")).unwrap();
    says(&store.list().unwrap_err(), Reason::Io, "Connection refused");
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_one() {
    let Some(server) = s3::server() else { return };
    let client = s3::client(server.address, "none-such", Duration::from_secs(60));
    let store = Object::over(client, "", "app", "s3://none-such/app".to_owned()).unwrap();
    says(&store.list().unwrap_err(), Reason::Io, "NoSuchBucket");
    says(&put(&store, "a", b"x").unwrap_err(), Reason::Io, "NoSuchBucket");
}

#[test]
fn more_files_than_a_server_lists_at_once_are_all_listed() {
    let Some(Faulty { store, server, bucket, proxy }) = faulty() else { return };
    // Quicker than through the store.
    for number in 0..1005 {
        assert_eq!(server.ask("PUT", &format!("/{bucket}/app/{number}")).0, 200);
    }
    assert_eq!(store.list().unwrap().len(), 1005);
    // Also where an answer breaks off.
    proxy.fail(Fault::CutDown(100_000), 2);
    assert_eq!(store.list().unwrap().len(), 1005);
    assert_eq!(proxy.faults(), 2);
}

/// Removes a file and a lock through a client of the server at this address, and gets no answer the
/// first time.
fn removes_without_an_answer(server: SocketAddr, client: impl FnOnce(SocketAddr) -> Arc<dyn ObjectStore>) {
    let proxy = Proxy::before(Server { address: server });
    let store = Object::over(client(proxy.address), "", "app", "here".to_owned()).unwrap();
    put(&store, "a", b"x").unwrap();
    proxy.fail(Fault::LoseRemoval, 1);
    store.delete("a").unwrap();
    assert_eq!(proxy.faults(), 1);
    let edit = store.edit().unwrap();
    proxy.fail(Fault::LoseRemoval, 1);
    drop(edit);
    assert_eq!(proxy.faults(), 2);
    assert!(store.list().unwrap().is_empty());
}

/// Long enough for a server on a machine with other work.
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn a_removal_that_is_not_answered_is_asked_for_again() {
    let Some(server) = s3::server() else { return };
    let bucket = server.bucket();
    removes_without_an_answer(server.address, |address| s3::client(address, &bucket, SHORT));
    assert_eq!(server.keys(&bucket), Vec::<String>::new(), "neither file nor lock");
}

#[test]
fn a_removal_that_google_does_not_answer_is_asked_for_again_though_it_then_finds_nothing() {
    let Some(server) = s3::server() else { return };
    let bucket = server.bucket();
    let google = Gateway::of_google(server);
    removes_without_an_answer(google.address, |address| client_of_google(address, &bucket, SHORT));
    assert_eq!(server.keys(&bucket), Vec::<String>::new(), "neither file nor lock");
}

#[test]
fn a_removal_that_azure_does_not_answer_is_asked_for_again_though_it_then_finds_nothing() {
    let Some(server) = azure::server() else { return };
    let container = server.container();
    removes_without_an_answer(server.address, |address| Azurite { address }.client(&container, SHORT));
}

#[test]
fn the_lock_of_a_dead_process_is_in_nobodys_way() {
    let Some(Faulty { store, server, bucket, proxy: _proxy }) = faulty() else { return };
    put(&store, "a", b"x").unwrap();
    let held = store.hold("a").unwrap();
    let keys = server.keys(&bucket);
    let lock = keys.iter().find(|key| key.contains("/.locks/")).unwrap();
    // The same lock as if another process of this machine had made it, one that is gone.
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let of_dead = lock.replace(&format!("-{}-", std::process::id()), &format!("-{}-", dead.id()));
    assert_ne!(*lock, of_dead);
    assert_eq!(server.ask("PUT", &format!("/{bucket}/{of_dead}")).0, 200);
    assert!(server.keys(&bucket).contains(&of_dead));
    drop(held);
    assert!(!store.is_held("a").unwrap());
    assert!(store.claim("a").unwrap().is_some());
    assert!(!server.keys(&bucket).contains(&of_dead), "it is removed");

    // One of another machine is not, as long as it may live.
    let elsewhere = of_dead.replace("/s-", "/s-0000");
    assert_eq!(server.ask("PUT", &format!("/{bucket}/{elsewhere}")).0, 200);
    assert!(store.is_held("a").unwrap());
    assert!(store.claim("a").unwrap().is_none());
}
