//! What a bucket's error says to an operator: the cause in a few words, and what to do. Must never
//! repeat what was sent to the server, whose headers hold credentials, nor its whole answer.

use std::error::Error as StdError;

use object_store::Error as Cause;
use rustls::CertificateError;

use crate::error::{Error, Reason};

/// An error of a client, with what was being done.
pub(super) fn told(doing: &str, remedy: &str, cause: &Cause) -> Error {
    if let Some(refused) = certificate(cause) {
        let told = format!("{doing}: the server's certificate is not accepted: {}", distrust(refused));
        return Error::new(Reason::Io, told);
    }
    let reason = match cause {
        Cause::NotFound { .. } => Reason::NotFound,
        Cause::AlreadyExists { .. } => Reason::Refused,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => Reason::Permission,
        Cause::NotImplemented { .. } | Cause::NotSupported { .. } => Reason::Unsupported,
        _ => Reason::Io,
    };
    let said = deepest(cause);
    // A list that is refused comes without a kind.
    let is_refused =
        status(&said).is_some_and(|status| status.starts_with("401") || status.starts_with("403"));
    // A file that is not there is one thing, a bucket that is not there another.
    let is_no_bucket = ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| said.contains(code));
    let reason = match reason {
        _ if is_refused => Reason::Permission,
        _ if is_no_bucket => Reason::Io,
        reason => reason,
    };
    // Without credentials the machine's own are asked for, which fails in as many ways as there are
    // networks.
    let remedy = match reason {
        _ if is_no_bucket => "make the bucket, or correct its name in the configuration",
        // Its own trouble.
        _ if status(&said).is_some_and(|status| status.starts_with('5')) => "",
        Reason::Permission | Reason::Io => remedy,
        _ => "",
    };
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    Error::new(reason, format!("{doing}: {}{remedy}", short(&said)))
}

/// Why a certificate was refused, if that is what happened.
pub(super) fn certificate<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(cause);
    while let Some(at) = next {
        if let Some(rustls::Error::InvalidCertificate(refused)) = at.downcast_ref() {
            return Some(refused);
        }
        next = match at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // Of which an I/O error gives the source as its own.
            Some(inner) => Some(inner),
            None => at.source(),
        };
    }
    None
}

/// What is wrong with a certificate, and what to do.
fn distrust(refused: &CertificateError) -> String {
    use CertificateError as Refused;
    let told = match refused {
        Refused::Expired | Refused::ExpiredContext { .. } => {
            "it has expired; have it renewed, or set this machine's clock"
        }
        Refused::NotValidYet | Refused::NotValidYetContext { .. } => {
            "it is not valid yet; set this machine's clock"
        }
        Refused::NotValidForName | Refused::NotValidForNameContext { .. } => {
            "it is for another name; address the server by the name that it is for"
        }
        Refused::UnknownIssuer => {
            "nobody whom this machine trusts has signed it; add the certificate of its authority to the system's \
             (update-ca-certificates), or for s3:// name its PEM file in AWS_CA_BUNDLE"
        }
        other => return other.to_string(),
    };
    told.to_owned()
}

/// The text of the first cause.
fn deepest(cause: &Cause) -> String {
    let mut at: &dyn StdError = cause;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// `403 Forbidden`, of a text that tells of an answer.
fn status(text: &str) -> Option<&str> {
    text.split_once("status code: ").and_then(|(_, rest)| rest.split(':').next())
}

/// Of a server's answer its status, code and message: the rest repeats the request.
fn short(text: &str) -> String {
    let part = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once('<').map(|(inner, _)| inner.trim())
    };
    match (part("Code"), status(text)) {
        (Some(code), _) => {
            let message = part("Message").unwrap_or_default();
            let message = message.lines().next().unwrap_or_default().trim_end_matches('.');
            if message.is_empty() {
                format!("the server says {code}")
            } else {
                format!("the server says {code}: {message}")
            }
        }
        (None, Some(status)) => format!("the server says {status}"),
        (None, None) if text.contains("timed out") => "the server did not answer in time".to_owned(),
        (None, None) => match text.rfind(" (os error ") {
            Some(at) => text[..at].to_owned(),
            None => text.lines().next().unwrap_or_default().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_what_an_operator_needs_is_told() {
        let answer = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>\
                      SignatureDoesNotMatch</Code><Message>The signature does not match.</Message><AWSAccessKeyId>\
                      AKIA</AWSAccessKeyId></Error>";
        assert_eq!(short(answer), "the server says SignatureDoesNotMatch: The signature does not match");
        assert_eq!(
            short("Server returned non-2xx status code: 503 Service Unavailable: secret"),
            "the server says 503 Service Unavailable"
        );
        assert_eq!(short("Connection refused (os error 111)"), "Connection refused");
    }
}
