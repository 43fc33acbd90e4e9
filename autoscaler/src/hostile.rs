//! Heads that mean us harm, or have lost their minds. No real head can be brought to do this, so a server of our own plays them: it speaks HTTP/2 as
//! a GCS does, and answers as none would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::Response;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;

use crate::credentials::Credentials;
use crate::gcs::Gcs;

/// How a head answers whatever it is asked.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Never.
    Hangs,
    /// A byte now and then, without end.
    Drips,
    /// With a message of a gigabyte, it says, and sends on and on.
    Floods,
    /// With a message that is none.
    Babbles,
    /// Not as a GCS does.
    IsSomethingElse,
}

async fn head(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let router = Router::new().fallback(move || answer(manner));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(manner: Manner) -> Response {
    let endless = |first: Vec<u8>, chunk: Bytes, pause: Duration| {
        let rest = stream::repeat(chunk).then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            chunk
        });
        let all = stream::once(async move { Bytes::from(first) }).chain(rest);
        Body::from_stream(all.map(Ok::<_, Infallible>))
    };
    let body = match manner {
        Manner::Hangs => std::future::pending().await,
        Manner::Drips => endless(frame(1000), Bytes::from_static(&[0]), Duration::from_millis(50)),
        Manner::Floods => endless(frame(1 << 30), Bytes::from_static(&[0; 4096]), Duration::ZERO),
        Manner::Babbles => Body::from([frame(3), vec![0xff; 3]].concat()),
        Manner::IsSomethingElse => return Response::new(Body::from("<html>")),
    };
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    response.body(body).expect("a response")
}

/// What precedes a message of so many bytes.
fn frame(bytes: u32) -> Vec<u8> {
    [&[0][..], &bytes.to_be_bytes()].concat()
}

async fn asked(address: SocketAddr) -> String {
    let asked = Instant::now();
    let gcs = Gcs::new(address, &Credentials::default());
    let answer = gcs.expect("an address").report().await;
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "the deadline does not hold: {:?}",
        asked.elapsed()
    );
    match answer {
        Ok(report) => panic!("that is no answer: {report:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn no_head_holds_us_up_or_fills_us() {
    let expected = [
        (Manner::Hangs, "no answer within 3 s"),
        (Manner::Drips, "no answer within 3 s"),
        (
            Manner::Floods,
            "OutOfRange: Error, decoded message length too large",
        ),
        (Manner::Babbles, "Internal: "),
        (Manner::IsSomethingElse, "invalid compression flag"),
    ];
    let answers = expected.map(|(manner, words)| async move {
        let answer = asked(head(manner).await).await;
        assert!(answer.contains(words), "{manner:?}: {answer}");
    });
    futures::future::join_all(answers).await;
}

#[tokio::test]
async fn a_head_that_closes_or_is_not_there_is_told_apart_from_one_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let closing = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    let answer = asked(address).await;
    assert!(!answer.contains("no answer within"), "{answer}");
    closing.abort();
    // The task may still hold the port for a moment; either way nobody answers.
    let answer = asked(address).await;
    assert!(!answer.contains("no answer within"), "{answer}");
}
