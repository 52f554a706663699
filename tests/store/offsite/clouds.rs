//! The clouds beside S3: all that the program does with a place, on a server of each, and whom it
//! speaks to in the clear.

use super::at;
use super::outside::Outside;
use crate::buckets::gateway::{Gateway, TOKEN};
use crate::buckets::{azure, s3};
use crate::support::application::Application;
use crate::support::soundness::assert_sound;
use std::net::{Ipv4Addr, TcpListener};

/// Makes backups until rotation removes one, verifies and restores them.
fn keeps_backups(outside: &Outside, place: &str) {
    let mut application = Application::start(&outside.sandbox.database());
    // More than a part.
    application.sql("CREATE TABLE big AS SELECT randomblob(12000000) AS bytes");
    application.write_every(std::time::Duration::from_millis(5));
    let checked = outside.run(0, &["check", "--environment"]);
    assert!(checked.contains("can be read and has 0 files"), "{checked}");
    let mut made = Vec::new();
    for _ in 0..3 {
        application.wait_for_commits(1);
        outside.run(0, &["backup", "attendance"]);
        made.push(outside.backups(&[]).remove(0));
    }
    made.reverse();
    assert_eq!(outside.backups(&[]), made[..2], "rotated");
    let verified = outside.run(0, &["verify", "attendance"]);
    assert!(verified.contains("restored, checked, good"), "{verified}");
    let listed = outside.json(0, &["backups", "attendance"]);
    assert_eq!(listed[0]["path"], format!("{place}/attendance/{}", made[0]));
    assert_eq!(listed[0]["verification"]["ok"], true, "{listed}");
    let seen = application.stop();
    let restored = outside.sandbox.path().join("restored.sqlite");
    outside.run(0, &["restore", "attendance", "--to", restored.to_str().unwrap()]);
    assert!(assert_sound(&restored) <= seen.last());
}

fn configuration(place: &str) -> String {
    format!("[backup]\ndir = \"{place}\"\nkeep_last = 2\nskip_unchanged = false\n")
}

#[test]
fn backups_are_kept_in_azure() {
    let Some(server) = azure::server() else { return };
    let place = format!("az://{}/some/prefix", server.container());
    let mut outside = Outside::new(
        &configuration(&place),
        &[
            ("AZURE_STORAGE_ENDPOINT", server.endpoint()),
            ("AZURE_STORAGE_ACCOUNT_NAME", azure::ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", azure::KEY.to_owned()),
        ],
    );
    keeps_backups(&outside, &place);

    outside.sandbox.configure(&configuration("az://none-such"));
    let told = outside.says(1, &["backup", "attendance"]);
    assert!(
        told.contains("says ContainerNotFound") && told.contains("; make the bucket, or correct its name"),
        "{told}"
    );
    outside.set(&[("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=".to_owned())]);
    for args in [&["backup", "attendance"], &["backups", "attendance"]] {
        let told = outside.says(1, args);
        assert!(told.contains("the server says AuthorizationFailure"), "{told}");
        assert!(told.contains("; check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"), "{told}");
    }
}

#[test]
fn backups_are_kept_with_google() {
    let Some(server) = s3::server() else { return };
    let (gateway, bucket) = (Gateway::of_google(server), server.bucket());
    let place = format!("gs://{bucket}/some/prefix");
    let mut outside = Outside::new(
        &configuration(&place),
        &[
            ("GOOGLE_BASE_URL", format!("http://{}", gateway.address)),
            ("GOOGLE_BEARER_TOKEN", TOKEN.to_owned()),
        ],
    );
    keeps_backups(&outside, &place);
    assert_eq!(server.unfinished_uploads(&bucket), 0);
    assert_eq!(server.keys(&bucket).len(), 4, "two backups, and no lock");

    outside.set(&[("GOOGLE_BEARER_TOKEN", "old".to_owned())]);
    let told = outside.says(1, &["backups", "attendance"]);
    assert!(told.contains("the server says AuthenticationRequired; check GOOGLE_SERVICE_ACCOUNT"), "{told}");
}

#[test]
fn another_machine_is_not_spoken_to_without_encryption_unless_that_is_allowed() {
    // An address of this machine that is not loopback's name for it.
    let elsewhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://0.0.0.0:{}", elsewhere.local_addr().unwrap().port());
    for (cloud, variable, scheme) in [
        ("AWS", "AWS_ENDPOINT_URL", "s3"),
        ("GOOGLE", "GOOGLE_BASE_URL", "gs"),
        ("AZURE", "AZURE_STORAGE_ENDPOINT", "az"),
    ] {
        let mut outside =
            Outside::new(&configuration(&format!("{scheme}://bucket")), &at(elsewhere.local_addr().unwrap()));
        outside.set(&[
            (variable, url.clone()),
            ("GOOGLE_BEARER_TOKEN", TOKEN.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", azure::ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", azure::KEY.to_owned()),
        ]);
        let told = outside.says(1, &["backups", "attendance"]);
        assert!(told.contains(&format!("cannot use {scheme}://bucket: {variable} is http://")), "{told}");
        assert!(told.contains(&format!("use https://, or allow it with {cloud}_ALLOW_HTTP=true")), "{told}");
    }
    // An address that stands among the credentials is one, too.
    let key = format!(
        "{{\"private_key\": \"\", \"private_key_id\": \"\", \"client_email\": \"\", \"disable_oauth\": true, \"gcs_base_url\": \"{url}\"}}"
    );
    let variables = [("GOOGLE_SERVICE_ACCOUNT_KEY", key), ("GOOGLE_TIMEOUT", "10 ms".to_owned())];
    let hidden = Outside::new(&configuration("gs://bucket"), &variables);
    let told = hidden.says(1, &["backups", "attendance"]);
    assert!(told.contains("cannot list gs://bucket") && told.contains("scheme"), "{told}");
    let came = elsewhere.accept().map(drop).map_err(|e| e.kind());
    assert_eq!(came, Err(std::io::ErrorKind::WouldBlock), "nobody came");

    let Some(server) = s3::server() else { return };
    let url = format!("http://0.0.0.0:{}", server.address.port());
    let mut allowed = Outside::new(&configuration(&format!("s3://{}", server.bucket())), &at(server.address));
    allowed.set(&[("AWS_ENDPOINT_URL", url), ("AWS_ALLOW_HTTP", "true".to_owned())]);
    allowed.run(0, &["backups", "attendance"]);
}
