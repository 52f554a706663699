//! Which failed requests may be sent again: what the clients of `object_store` leave out because
//! they cannot know it. Must never repeat anything itself: that is their loop
//! ([`super::Patience`]), which this only tells better.
//!
//! Their loop is what is used, and no decorator around [`crate::store::Store`], because it knows
//! the request: a part is sent again and not the upload that it belongs to, a download goes on
//! where it broke off. It repeats 408, 429, 5xx and whatever never reached the server, and after a
//! timeout or a broken connection what is known to do no harm twice. Three things are wrong with it
//! for us, and corrected here:
//! - removing, and beginning an upload, do no harm twice;
//! - an answer is not there before its last byte is: one that breaks off counts as a broken
//!   connection;
//! - a certificate that is refused will be refused again.

use std::pin::Pin;

use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, Result};

use super::failure;

/// Makes the connections of a client.
#[derive(Debug, Clone, Copy)]
pub struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Telling(client)))
    }
}

#[derive(Debug)]
struct Telling(HttpClient);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Telling {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let may_be_repeated = does_no_harm_twice(&request);
        // Files are asked for by ranges, and their clients go on in the middle of one; everything
        // else is small.
        let is_file = request.headers().contains_key("range");
        Box::pin(async move {
            let answer = async {
                let answer = self.0.execute(request).await?;
                if is_file {
                    return Ok(answer);
                }
                let (head, body) = answer.into_parts();
                Ok(HttpResponse::from_parts(head, body.bytes().await?.into()))
            };
            answer.await.map_err(|error| told(error, may_be_repeated))
        })
    }
}

/// Of the requests that are not known to.
fn does_no_harm_twice(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let has = |word: &str| query.split('&').any(|part| part.trim_end_matches('=') == word);
    match request.method().as_str() {
        "DELETE" => true,
        // Google's uploads; one that nobody knows of is removed as those of killed processes are.
        // Azure's removals.
        "POST" => has("uploads") || has("comp=batch"),
        _ => false,
    }
}

fn told(error: HttpError, may_be_repeated: bool) -> HttpError {
    let kind = match error.kind() {
        _ if failure::certificate(&error).is_some() => HttpErrorKind::Unknown,
        // As if it had not been sent, which is always repeated. Decode: of an answer that broke
        // off.
        HttpErrorKind::Timeout | HttpErrorKind::Interrupted | HttpErrorKind::Decode if may_be_repeated => {
            HttpErrorKind::Request
        }
        HttpErrorKind::Decode => HttpErrorKind::Interrupted,
        _ => return error,
    };
    HttpError::new(kind, error)
}
