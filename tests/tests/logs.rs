//! What repeats itself fills no disk: a line now and then, with the remedy.

use std::io::Write;
use std::os::unix::net::UnixStream;

use push_tests::http1::{self, Request};
use push_tests::{Channel, Nginx, Setup, Store, TestResult, process, sidecar, wait};

const FLOOD: usize = 300;

#[tokio::test]
async fn a_flood_of_wrong_signatures_is_one_line() -> TestResult {
    let host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    let (channel, stranger) = (Channel::new(), Channel::new());
    let forged = host.target(&channel).replace(&channel.private, &stranger.private);
    let mut client = http1::Http1::connect(&host.public()).await?;
    for _ in 0..FLOOD {
        assert_eq!(client.request(&Request::get(&forged)).await?.status, 400);
    }
    let log = host.nginx.error_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("4010")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["[warn]", "signature_key", "push-sidecar doctor"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!log.contains(&stranger.private) && !log.contains(&channel.public), "{log}");
    Ok(())
}

#[tokio::test]
async fn publishes_that_nobody_takes_are_one_line() -> TestResult {
    let mut host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    host.sidecar.kill();
    let channel = Channel::new();
    let ids = [&channel.private[..]];
    let posts = (0..20).map(|_| host.post(&ids, "1", 0));
    for answer in futures_util::future::join_all(posts).await {
        assert_eq!(answer?.status, 503);
    }
    let log = host.nginx.error_log();
    let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(count("its publisher was told 503"), 1, "{log}");
    assert!(log.contains("push-sidecar health"), "{log}");
    // The link was tried some ten times meanwhile, and broke in two ways.
    assert!((1..=2).contains(&count("systemctl status push-sidecar")), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_flood_of_strange_connections_is_ten_lines() -> TestResult {
    let mut host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    for _ in 0..FLOOD {
        let mut stream = UnixStream::connect(sidecar::socket(host.folder()))?;
        // A frame of a length that no frame has.
        let _ = stream.write_all(&[0xff; 64]);
    }
    let log = host.folder().join("push-sidecar.log");
    let count = || process::read_log(&log).matches("a connection that is no link").count();
    wait::until_blocking("they are told", wait::SOON, || count() == 10);
    // The answer comes behind all of them.
    host.sidecar.process().signal(nix::sys::signal::Signal::SIGTERM);
    wait::until_blocking("it ends", wait::SOON, || host.sidecar.process().ended().is_some());
    assert_eq!(count(), 10);
    assert!(process::read_log(&log).contains("does bx_push_sidecar alone name this socket?"));
    Ok(())
}
