//! What must not be told: keys, signatures and tokens in logs; and what an intruder could do from
//! within the daemon.

use std::fs;
use std::process::Command;

use push_tests::http1::{self, Request};
use push_tests::websocket::Mode;
use push_tests::{Channel, Nginx, Setup, Store, TestResult, WebSocket, builds, host};

/// `log_format` of the installed file.
fn log_format() -> std::io::Result<String> {
    let text = fs::read_to_string(builds::repository().join("nginx-conf/bx-push.conf"))?;
    let from = text.find("log_format bx_push").expect("a log format");
    let upto = text[from..].find(';').expect("its end");
    Ok(text[from..=from + upto].to_owned())
}

#[tokio::test]
async fn logs_tell_no_secret() -> TestResult {
    let mut setup = Setup::new(Nginx::Installed, Store::Redis);
    setup.sidecar.push(("BX_PUSH_LOG", "trace"));
    setup.conf.http += &log_format()?;
    for location in [&mut setup.conf.sub, &mut setup.conf.publishing] {
        location.push_str("access_log access.log bx_push;");
    }
    let mut host = setup.start()?;
    let (channel, stranger) = (Channel::new(), Channel::new());
    let token = "a-token-that-nobody-may-see";
    let target = format!("{}&token={token}&mid=10000000000000000000000001", host.target(&channel));
    let mut socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
    host.publish(&channel, "a body that is nobody's business").await?;
    assert_eq!(socket.body().await, "a body that is nobody's business");
    // A signature of another channel, and no signature at all.
    let signed = host.target(&channel);
    let forged = signed.replace(&channel.private, &stranger.private);
    for target in [&forged, &format!("/bitrix/sub/?CHANNEL_ID={}&token={token}", stranger.private)]
    {
        let answer = http1::once(&host.public(), Request::get(target)).await?;
        assert!(answer.status >= 400, "{answer:?}");
    }
    let request = host::text_publication(&[&channel.private], "another", 60);
    assert_eq!(http1::once(&host.internal(), request).await?.status, 200);
    host.redis.as_mut().expect("a Redis").kill();
    let answer = host.post(&[&channel.private], "never stored", 60).await?;
    assert_eq!(answer.status, 503);
    host.redis.as_mut().expect("a Redis").restart()?;
    drop(socket);

    let signature = signed.rsplit('.').next().expect("a signature").to_owned();
    assert!(signature.len() >= 40, "{signature}");
    let secrets = [&host.key.0[..], &signature, token, "nobody's business", "never stored"];
    let errors = host.nginx.error_log();
    let sidecar = host.sidecar.process().output();
    let access = fs::read_to_string(host.folder().join("access.log"))?;
    assert!(
        access.contains("\"GET /bitrix/sub") && access.contains("POST /bitrix/pub"),
        "{access}"
    );
    assert!(access.contains("mid=10000000000000000000000001"), "{access}");
    for (name, log) in [("access.log", &access), ("error.log", &errors), ("sidecar", &sidecar)] {
        assert!(!log.is_empty(), "{name} is empty");
        for secret in secrets {
            assert!(!log.contains(secret), "{name} tells {secret:?}:\n{log}");
        }
    }
    for id in [&channel.private, &channel.public] {
        assert!(!access.contains(&id[..]), "access.log tells a channel's id:\n{access}");
    }
    Ok(())
}

#[test]
fn the_units_leave_little_to_an_intruder() -> std::io::Result<()> {
    let unit = builds::repository().join("packaging/systemd/push-sidecar.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let exposure: f32 = told
        .rsplit_once("Overall exposure level for push-sidecar.service: ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(exposure < 2.0, "{told}");
    Ok(())
}
