//! A server that fails or refuses, and what the program makes of it and says.

use super::outside::Outside;
use super::{Away, IN_BUCKET, at};
use crate::buckets::s3::{self, Fault, Proxy};

/// The program as a user of the server's who may do everything but remove, and a bucket.
fn as_one_who_may_not_remove() -> Option<(Outside, String)> {
    const MAY: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Resource%22%3A%22*%22%2C\
                       %22Action%22%3A%5B%22s3%3AListBucket%22%2C%22s3%3AGetObject%22%2C%22s3%3APutObject%22%5D%7D%7D";
    const IAM: &str = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, \
                       Signature=x\r\n";
    // Those of the four below.
    let server = s3::guarded_after(4)?;
    let bucket = server.bucket();
    let iam = |action: &str| {
        let (status, answer) =
            server.ask_with("GET", &format!("/?Version=2010-05-08&UserName=keeper&Action={action}"), IAM);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    iam("CreateUser");
    iam(&format!("PutUserPolicy&PolicyName=keep&PolicyDocument={MAY}"));
    let key = iam("CreateAccessKey");
    let part = |tag: &str| key.split(&format!("{tag}>")).nth(1).unwrap().trim_end_matches("</").to_owned();
    let credentials =
        [("AWS_ACCESS_KEY_ID", part("AccessKeyId")), ("AWS_SECRET_ACCESS_KEY", part("SecretAccessKey"))];
    let mut outside = Outside::new(&IN_BUCKET.replace("BUCKET", &bucket), &at(server.address));
    outside.set(&credentials);
    Some((outside, bucket))
}

#[test]
fn a_key_that_may_not_remove_makes_backups_and_rotation_says_what_it_cannot() {
    let Some((mut outside, bucket)) = as_one_who_may_not_remove() else { return };
    for _ in 0..2 {
        outside.run(0, &["backup", "attendance"]);
    }
    let oldest = outside.backups(&[]).remove(1);
    let told = outside.json(3, &["backup", "attendance"]);
    let problem = told["problems"][0]["message"].as_str().unwrap();
    assert!(
        problem.contains(&format!(
            "cannot remove s3://{bucket}/some/prefix/attendance/{oldest}: the server says"
        )),
        "{told}"
    );
    assert!(problem.contains("AccessDenied") && problem.contains("what the key may do"), "{told}");
    assert_eq!(outside.backups(&[]).len(), 3);
    outside.run(0, &["verify", "attendance"]);

    // Whom it does not know it lets do nothing.
    for (variable, value, code) in [
        ("AWS_SECRET_ACCESS_KEY", s3::SECRET, "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", s3::KEY, "InvalidAccessKeyId"),
    ] {
        outside.set(&[(variable, value.to_owned())]);
        for args in [&["backup", "attendance"], &["backups", "attendance"]] {
            let told = outside.says(1, args);
            assert!(told.contains(&format!("the server says {code}: ")), "{told}");
            assert!(told.contains("; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,"), "{told}");
            assert!(!told.contains("a lock in the bucket"), "there is none: {told}");
        }
    }
}

#[test]
fn a_bucket_that_is_not_there_is_told_with_what_to_do() {
    let Some(away) = Away::new(&IN_BUCKET.replace("BUCKET", "none-such")) else { return };
    for args in [&["backup", "attendance"][..], &["backups", "attendance"], &["check", "--environment"]] {
        let told = away.says(1, args);
        assert!(told.contains("the server says NoSuchBucket"), "{told}");
        assert!(told.contains("; make the bucket, or correct its name in the configuration"), "{told}");
    }
}

#[test]
fn a_server_that_is_busy_or_cuts_a_part_off_for_a_while_costs_no_backup() {
    let Some(mut away) = Away::new(IN_BUCKET) else { return };
    away.grow();
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    for (fault, times) in [(Fault::Status(503), 3), (Fault::CutUp(3 << 20), 2)] {
        let before = proxy.faults();
        proxy.fail(fault, times);
        away.run(0, &["backup", "attendance"]);
        assert_eq!(proxy.faults() - before, u64::from(times));
    }
    assert_eq!(away.backups(&[]).len(), 2);
    away.run(0, &["verify", "attendance"]);
    assert_eq!(away.server.unfinished_uploads(&away.bucket), 0);

    // For longer than that it is an error, and no fault of the key's.
    away.outside.set(&[("AWS_MAX_ATTEMPTS", "2".to_owned())]);
    proxy.fail(Fault::Status(503), u32::MAX);
    let told = away.says(1, &["backup", "attendance"]);
    assert!(told.contains("the server says 503") && !told.contains("AWS_ACCESS_KEY_ID"), "{told}");
}

#[test]
fn a_server_that_hangs_is_given_up_after_as_many_attempts_as_are_allowed() {
    let Some(mut away) = Away::new(IN_BUCKET) else { return };
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    away.outside.set(&[("AWS_TIMEOUT", "300 ms".to_owned()), ("AWS_MAX_ATTEMPTS", "2".to_owned())]);
    proxy.fail(Fault::Stall, u32::MAX);
    let told = away.says(1, &["backups", "attendance"]);
    assert!(
        told.contains("cannot list s3://") && told.contains("the server did not answer in time"),
        "{told}"
    );
    assert_eq!(proxy.faults(), 2);
    let told = away.says(1, &["backup", "attendance"]);
    assert!(told.contains("the server did not answer in time"), "{told}");

    away.outside.set(&[("AWS_MAX_ATTEMPTS", "0".to_owned())]);
    let told = away.says(78, &["backups", "attendance"]);
    assert!(told.contains("AWS_MAX_ATTEMPTS must be a number, 1 or more"), "{told}");
}
