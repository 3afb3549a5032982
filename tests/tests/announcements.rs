//! What push-server 0.4.0 announces on a shared Redis: out of order, late, never, or in odd forms.

use std::io;
use std::path::PathBuf;

use push_tests::channel::hex;
use push_tests::neighbour::{Draft, Neighbour, field, private, public};
use push_tests::poll::{from_poll, poll};
use push_tests::replay::placeholder::Bindings;
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Nginx, Setup, Store, TestResult, WebSocket};

/// A host with two workers that waits for missing ids so long, milliseconds.
fn host(gap_hold: &'static str) -> io::Result<Host> {
    let mut setup = Setup::new(Nginx::Installed, Store::Redis).workers(2);
    setup.sidecar = vec![("BX_PUSH_LINK_GAP_HOLD_MS", gap_hold)];
    setup.start()
}

async fn neighbour(host: &Host, uid: &str) -> io::Result<Neighbour> {
    let url = host.redis.as_ref().expect("a Redis").url();
    let socket: PathBuf = url.strip_prefix("unix://").expect("a socket").into();
    Neighbour::start(&socket, uid).await
}

/// A text and a binary subscriber of a pair.
async fn subscribers(host: &Host, channel: &Channel) -> io::Result<Vec<WebSocket>> {
    let text = host.subscribe(channel, Mode::Text).await?;
    Ok(vec![text, host.subscribe(channel, Mode::Binary).await?])
}

#[tokio::test]
async fn announcements_out_of_order_are_put_in_order() -> TestResult {
    // A gap is waited for, longer than this machine can be busy.
    let host = host("5000")?;
    let mut first = neighbour(&host, "first").await?;
    let mut second = neighbour(&host, "second").await?;
    let channel = Channel::new();
    let mut sockets = subscribers(&host, &channel).await?;
    let mut expected = Vec::new();
    for round in 0..20 {
        let draft = |name: &str| {
            Draft::new(&[private(&channel)], &format!("\"{name} {round}\""), round % 2 * 60)
        };
        let (earlier, later) = (draft("earlier"), draft("later"));
        let (low, high) = (first.allocate().await?, second.allocate().await?);
        for (process, mid, draft) in [(&mut second, high, &later), (&mut first, low, &earlier)] {
            if draft.expiry > 0 {
                process.store(&mid, draft).await?;
            }
            process.announce(&mid, draft).await?;
        }
        expected.extend([earlier.body, later.body]);
    }
    assert_eq!(host.rest(&channel, &mut sockets).await?, [expected.clone(), expected]);
    Ok(())
}

#[tokio::test]
async fn ids_that_come_late_or_never_hold_nobody_up() -> TestResult {
    let host = host("50")?;
    let mut old = neighbour(&host, "2wzeqrlu").await?;
    let channel = Channel::new();
    let mut sockets = subscribers(&host, &channel).await?;
    let draft =
        |body: &str, expiry| Draft::new(&[private(&channel), public(&channel)], body, expiry);
    let next = async |sockets: &mut Vec<WebSocket>, body: &str| {
        for socket in sockets {
            assert_eq!(socket.body().await, body);
        }
    };

    // Announced long after its successor was delivered.
    let (late, prompt) = (draft("\"late\"", 0), draft("\"prompt\"", 60));
    let late_mid = old.allocate().await?;
    old.publish(&prompt).await?;
    next(&mut sockets, &prompt.body).await;
    old.announce(&late_mid, &late).await?;
    next(&mut sockets, &late.body).await;

    // Taken by a process that died.
    old.allocate().await?;
    let after = draft("\"after a hole\"", 0);
    old.publish(&after).await?;
    next(&mut sockets, &after.body).await;

    // Stored, but its process is slow to announce it: it is found in time, and not repeated then.
    let (stored, successor) = (draft("\"stored\"", 60), draft("\"successor\"", 0));
    let stored_mid = old.allocate().await?;
    old.store(&stored_mid, &stored).await?;
    old.publish(&successor).await?;
    next(&mut sockets, &stored.body).await;
    next(&mut sockets, &successor.body).await;
    old.announce(&stored_mid, &stored).await?;

    assert_eq!(host.rest(&channel, &mut sockets).await?, vec![Vec::<String>::new(); 2]);
    Ok(())
}

#[tokio::test]
async fn a_spoilt_time_does_no_harm() -> TestResult {
    let host = host("50")?;
    let mut old = neighbour(&host, "2wzeqrlu").await?;
    let channels = [Channel::new(), Channel::new()];
    let [text, binary] = [(0, ""), (1, "&binaryMode=true")].map(|(number, mode)| {
        let target = host.target(&channels[number]).replace("subws", "sub");
        poll(&host.public(), target + mode)
    });
    host.until_online(&channels).await?;
    // Milliseconds, cut to 32 bits, as the recorded process announced it.
    let both = channels.each_ref().map(private);
    let spoilt = Draft { created: 111_934_964, ..Draft::new(&both, "\"x\"", 0) };
    let mut bindings = Bindings::new();
    let mid = old.publish(&spoilt).await?;
    let answer = soon("the poll", text).await??;
    let envelope = r#"#!NGINXNMS!#{"id":1,"mid":"{{mid:m}}","channel":"-","tag":"{{tag}}","time":"{{http_date}}","text":"x"}#!NGINXNME!#"#;
    bindings.matches(envelope, answer.text())?;
    let answer = soon("the poll", binary).await??;
    let message = from_poll(&answer, Mode::Binary).remove(0);
    assert_eq!((message.mid, message.body), (hex(&mid), spoilt.body));
    Ok(())
}

/// Any valid encoding will do, and what is none does no harm.
#[tokio::test]
async fn odd_announcements_are_understood() -> TestResult {
    let host = host("50")?;
    let mut old = neighbour(&host, "2wzeqrlu").await?;
    let channel = Channel::new();
    let mut sockets = subscribers(&host, &channel).await?;
    let draft = |body: &str| Draft::new(&[private(&channel), public(&channel)], body, 0);
    let mut messages = Vec::new();
    for number in 0..4 {
        let mid = old.allocate().await?;
        messages.push(field(1, &draft(&format!("\"{number}\"")).ipc_message(&mid)));
    }
    // A NotificationBatch with one Notification around its ipcMessages, or its ipcLicenses.
    let notification = |messages: &[u8]| field(1, &field(1, messages));
    let licences = field(1, &field(2, &field(1, &[])));

    let cut = notification(&messages[0]);
    for useless in [&[], &b"nonsense"[..], &cut[..cut.len() - 1], &licences] {
        old.announce_bytes(useless).await?;
    }
    // Two messages in one notification, then two notifications in one payload.
    old.announce_bytes(&notification(&messages[..2].concat())).await?;
    let two = [notification(&messages[2]), licences, notification(&messages[3])];
    old.announce_bytes(&two.concat()).await?;
    // Nothing but body and id, in this order, and fields that nobody knows.
    let unknown = [0x78, 1];
    let outgoing = [field(2, b"\"4\""), field(1, &old.allocate().await?), unknown.into()].concat();
    let receiver = [field(1, &private(&channel).id), vec![0x10, 1], unknown.into()].concat();
    let message = [field(3, &outgoing), field(1, &receiver), unknown.into()].concat();
    old.announce_bytes(&notification(&field(1, &message))).await?;

    let expected: Vec<_> = (0..5).map(|number| format!("\"{number}\"")).collect();
    assert_eq!(host.rest(&channel, &mut sockets).await?, [expected.clone(), expected]);
    Ok(())
}

/// A Redis that was emptied makes no message of the neighbour look like an old one.
#[tokio::test]
async fn a_flush_loses_no_announcement() -> TestResult {
    let host = host("50")?;
    let mut old = neighbour(&host, "2wzeqrlu").await?;
    let channel = Channel::new();
    let mut sockets = subscribers(&host, &channel).await?;
    for round in ["before", "after"] {
        for number in 0..5 {
            let draft = Draft::new(&[private(&channel)], &format!("\"{round} {number}\""), 60);
            old.publish(&draft).await?;
            for socket in &mut sockets {
                assert_eq!(socket.body().await, draft.body);
            }
        }
        host.redis.as_ref().expect("a Redis").command(&["FLUSHALL"])?;
    }
    Ok(())
}
