//! What is particular to a long poll (PROTOCOL.md, section 10).

use std::time::{Duration, Instant};

use push_tests::http1::{self, Request};
use push_tests::poll::poll;
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Nginx, Setup, Store, TestResult, both_nginx, matrix};

matrix!(an_unanswered_poll_ends_with_the_last_id);
both_nginx!(other_methods_are_not_served);

/// nginx reads its clock, in milliseconds, once in a turn of its event loop: what it measures from
/// there may be over a little early.
const CLOCK: Duration = Duration::from_millis(10);

async fn an_unanswered_poll_ends_with_the_last_id(mut setup: Setup) -> TestResult {
    setup.conf.sub = "bx_push_poll_timeout 2s;".into();
    let host = setup.start()?;
    let (silent, quiet) = (Channel::new(), Channel::new());
    let mut reader = host.subscribe(&quiet, Mode::Text).await?;
    host.publish(&quiet, "1").await?;
    let mid = soon("a message", reader.next()).await.expect("open").mid;

    let started = Instant::now();
    let polls = [
        (poll(&host.public(), host.target(&silent)), String::new()),
        (poll(&host.public(), host.target(&quiet)), mid.clone()),
        (poll(&host.public(), format!("{}&mid={mid}", host.target(&quiet))), mid.clone()),
    ];
    for (poll, last) in polls {
        let answer = soon("the end of a poll", poll).await??;
        assert!(
            started.elapsed() > Duration::from_secs(2) - CLOCK,
            "after {:?}",
            started.elapsed()
        );
        assert_eq!(answer.status, 304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("Last-Message-Id").unwrap_or_default(), last);
        assert_eq!(answer.header("Expires"), Some("Thu, 01 Jan 1973 11:11:01 GMT"));
        assert_eq!(answer.header("Access-Control-Expose-Headers"), Some("Last-Message-Id"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    }
    Ok(())
}

/// The default, in real time.
#[tokio::test]
async fn a_poll_is_held_for_40_seconds() -> TestResult {
    let host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    let started = Instant::now();
    let answer = poll(&host.public(), host.target(&Channel::new())).await??;
    let held = started.elapsed() + CLOCK;
    assert_eq!(answer.status, 304);
    assert!((40..42).contains(&held.as_secs()), "held for {held:?}");
    Ok(())
}

async fn other_methods_are_not_served(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let target = host.target(&Channel::new());
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = Request::new(method, &target, Vec::new());
        let answer = http1::once(&host.public(), request).await?;
        assert_eq!(answer.status, 404, "{method}: {answer:?}");
        assert!(answer.body.is_empty(), "{method}: {answer:?}");
    }
    let answer = http1::once(&host.public(), Request::post(&target, "body")).await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    let answer = http1::once(&host.public(), Request::new("OPTIONS", &target, Vec::new())).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    assert!(answer.header("Access-Control-Allow-Methods").is_some_and(|list| list.contains("GET")));
    Ok(())
}
