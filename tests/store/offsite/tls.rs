//! A server with a certificate of a private authority.

use super::outside::Outside;
use super::{IN_BUCKET, at};
use crate::buckets::gateway::{Authority, Certificate, Gateway};
use crate::buckets::s3;
use std::fs;

/// A way to the server over TLS.
fn over_tls(server: s3::Server, certificate: &Certificate) -> (Outside, Gateway) {
    let gateway = Gateway::of_tls(server, certificate);
    let mut outside = Outside::new(&IN_BUCKET.replace("BUCKET", &server.bucket()), &at(server.address));
    outside.set(&[("AWS_ENDPOINT_URL", format!("https://{}", gateway.address))]);
    (outside, gateway)
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named_or_is_among_the_systems() {
    let Some(server) = s3::server() else { return };
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let certificate = authority.certificate("IP:127.0.0.1", "20991231");
    let pem = authority.path().display().to_string();
    // The second is how a test has another system's store.
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let (mut outside, gateway) = over_tls(server, &certificate);
        outside.set(&[(variable, pem.clone())]);
        outside.run(0, &["backup", "attendance"]);
        outside.run(0, &["verify", "attendance"]);
        assert_eq!(outside.backups(&[]).len(), 1);
        assert!(gateway.connections() > 1);
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_at_once_with_what_to_do() {
    let Some(server) = s3::server() else { return };
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let pem = authority.path().display().to_string();
    for (name, until, trusted, what) in [
        (
            "IP:127.0.0.1",
            "20991231",
            "",
            "nobody whom this machine trusts has signed it; add the certificate of its authority",
        ),
        ("IP:127.0.0.1", "20200201", &*pem, "it has expired; have it renewed, or set this machine's clock"),
        (
            "DNS:elsewhere",
            "20991231",
            &*pem,
            "it is for another name; address the server by the name that it is for",
        ),
    ] {
        let (mut outside, gateway) = over_tls(server, &authority.certificate(name, until));
        outside.set(&[("AWS_CA_BUNDLE", trusted.to_owned())]);
        let told = outside.says(1, &["backups", "attendance"]);
        assert!(told.contains("cannot list s3://"), "{told}");
        assert!(told.contains(&format!("the server's certificate is not accepted: {what}")), "{told}");
        assert_eq!(gateway.connections(), 1, "it will not be accepted the next time");
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_told() {
    let Some(server) = s3::server() else { return };
    let mut outside = Outside::new(IN_BUCKET, &at(server.address));
    let file = outside.sandbox.path().join("authorities.pem");
    outside.set(&[("AWS_CA_BUNDLE", file.display().to_string())]);
    let doing = format!("cannot read the certificates in {}, which AWS_CA_BUNDLE names: ", file.display());
    let told = outside.says(78, &["backups", "attendance"]);
    assert!(told.contains(&doing), "{told}");
    fs::write(&file, "of no use").unwrap();
    let told = outside.says(78, &["backups", "attendance"]);
    assert!(told.contains(&(doing + "it holds none in PEM format")), "{told}");
}
