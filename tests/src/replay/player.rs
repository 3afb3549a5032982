//! Doing the steps of a case.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, timeout_at};

use super::answer;
use super::case::{self, Answer, Case, Closed, Frame, Handshake, Opcode, Step, Waited};
use super::placeholder::{Bindings, shown};
use super::socket::{Missing, Socket};
use crate::channel::hex;
use crate::http1::{Http1, Request, Response};
use crate::net::Endpoint;
use crate::websocket;

/// How long an answer may take unless the step says something else.
const ANSWER: Duration = Duration::from_secs(5);

/// The files let a request or a WebSocket settle for 80 and 60 ms, on a machine that did one thing
/// at a time. Here all cases run at once, on machines that test other things beside.
const SETTLE_FACTOR: u32 = 4;
const SETTLE_REQUEST: Duration = Duration::from_millis(80);
const SETTLE_SOCKET: Duration = Duration::from_millis(60);

/// How much later than recorded something may be that happens by the server's clock.
const LATE: f64 = 1.5;

/// Where the servers that the files name listen.
pub trait Servers: Sync {
    /// The server of that name.
    fn endpoint(&self, name: &str) -> Endpoint;
}

/// Does the steps of a case in order; fails with the first that does not go as recorded.
pub async fn play(case: &Case, servers: &dyn Servers) -> Result<(), String> {
    let mut player = Player::new(servers, &case.server);
    for (number, step) in case.steps.iter().enumerate() {
        let outcome = player.step(step).await;
        outcome.map_err(|error| format!("step {number} ({}): {error}", name_of(step)))?;
    }
    player.bindings.in_order()
}

/// Someone in the middle of a case.
pub struct Player<'a> {
    servers: &'a dyn Servers,
    server: &'a str,
    /// What its placeholders stand for.
    pub bindings: Bindings,
    requests: BTreeMap<String, Started>,
    sockets: BTreeMap<String, Socket>,
}

/// A request in the background.
struct Started {
    at: Instant,
    timeout: Duration,
    task: JoinHandle<io::Result<(Response, Instant)>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> Player<'a> {
    /// At the beginning of a case whose steps address `server` unless they name another.
    pub fn new(servers: &'a dyn Servers, server: &'a str) -> Self {
        Self {
            servers,
            server,
            bindings: Bindings::new(),
            requests: BTreeMap::new(),
            sockets: BTreeMap::new(),
        }
    }

    fn endpoint(&self, server: Option<&String>) -> Endpoint {
        self.servers.endpoint(server.map_or(self.server, String::as_str))
    }

    /// Does one step.
    pub async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Http { server, request, timeout_ms, expect } => {
                let started = self.start(server.as_ref(), request, *timeout_ms)?;
                let (response, _) = answered(started).await?;
                match expect {
                    Some(expected) => answer::compare(expected, &response, &mut self.bindings),
                    None => Ok(()),
                }
            }
            Step::HttpStart { server, name, request, timeout_ms, settle_ms } => {
                let started = self.start(server.as_ref(), request, Some(*timeout_ms))?;
                self.requests.insert(name.clone(), started);
                let settle = settle_ms.map_or(SETTLE_REQUEST, Duration::from_millis);
                sleep(settle * SETTLE_FACTOR).await;
                Ok(())
            }
            Step::HttpWait { name, expect, .. } => {
                let started = self.requests.remove(name);
                let started = started.ok_or_else(|| format!("{name} was not started"))?;
                match expect {
                    Waited::Nothing(nothing) => silent(started, nothing.no_answer_within_ms).await,
                    Waited::Answer(expected) => self.wait(started, expected).await,
                }
            }
            Step::Sleep { ms } => {
                sleep(Duration::from_millis(*ms)).await;
                Ok(())
            }
            Step::WsOpen { .. } => self.open(step).await,
            _ => self.on_socket(step).await,
        }
    }

    fn start(
        &self,
        server: Option<&String>,
        request: &case::Request,
        timeout_ms: Option<u64>,
    ) -> Result<Started, String> {
        let endpoint = self.endpoint(server);
        let request = self.request(request)?;
        let at = Instant::now();
        let exchange = async move {
            let mut http = Http1::connect(&endpoint).await?;
            // A server that refuses a large body may close before it has read all of it.
            let sent = http.send(&request.to_bytes()).await;
            let response = http.response().await.or_else(|error| sent.and(Err(error)))?;
            Ok((response, Instant::now()))
        };
        Ok(Started {
            at,
            timeout: timeout_ms.map_or(ANSWER, Duration::from_millis),
            task: tokio::spawn(exchange),
        })
    }

    fn request(&self, given: &case::Request) -> Result<Request, String> {
        let target = self.bindings.fill(&given.target)?;
        let body = given.body();
        let length = body.as_ref().map(|body| body.len().to_string());
        let mut request = Request::new(&given.method, &target, body.unwrap_or_default());
        if given.http_version.as_deref() == Some("1.0") {
            request = request.http10();
        }
        for (name, value) in &given.headers {
            request = request.header(name, value);
        }
        if let Some(length) = length {
            request = request.header("Content-Length", &length);
        }
        if !given.headers.contains_key("Connection") {
            request = request.header("Connection", "close");
        }
        Ok(request)
    }

    async fn wait(&mut self, started: Started, expected: &Answer) -> Result<(), String> {
        let at = started.at;
        let (response, answered) = answered(started).await?;
        answer::compare(expected, &response, &mut self.bindings)?;
        match expected.after_seconds {
            Some(seconds) => punctual(answered - at, seconds),
            None => Ok(()),
        }
    }

    async fn open(&mut self, step: &Step) -> Result<(), String> {
        let Step::WsOpen {
            server,
            conn,
            target,
            protocols,
            headers,
            offer_deflate,
            auto_pong,
            expect,
        } = step
        else {
            panic!("not an opening: {step:?}");
        };
        let mut handshake = websocket::handshake(&self.bindings.fill(target)?);
        if !protocols.is_empty() {
            handshake = handshake.header("Sec-WebSocket-Protocol", &protocols.join(", "));
        }
        if *offer_deflate {
            let offer = "permessage-deflate; client_max_window_bits";
            handshake = handshake.header("Sec-WebSocket-Extensions", offer);
        }
        for (name, value) in headers {
            handshake = handshake.header(name, value);
        }
        let endpoint = self.endpoint(server.as_ref());
        let opening = timeout(ANSWER, Socket::open(&endpoint, &handshake, *auto_pong));
        let (answer, socket) = match opening.await {
            Ok(outcome) => outcome.map_err(|error| error.to_string())?,
            Err(_) => return Err("no answer to the handshake".into()),
        };
        match expect {
            Some(Handshake { upgraded: false, status, headers, body }) => {
                answer::status(status.ok_or("no status is expected")?, &answer)?;
                let body = body.as_ref().ok_or("no body is expected")?;
                answer::refusal(headers, body, &answer, &mut self.bindings)?;
            }
            Some(expected) => answer::upgrade(&expected.headers, &answer, &mut self.bindings)?,
            None => answer::status(101, &answer)?,
        }
        if let Some(socket) = socket {
            self.sockets.insert(conn.clone(), socket);
            sleep(SETTLE_SOCKET * SETTLE_FACTOR).await;
        }
        Ok(())
    }

    async fn on_socket(&mut self, step: &Step) -> Result<(), String> {
        let Self { sockets, bindings, .. } = self;
        let conn = step.conn().expect("a step on a connection");
        let found = sockets.get_mut(conn);
        let socket = found.ok_or_else(|| format!("connection {conn} is not open"))?;
        match step {
            Step::WsSend { opcode, data_base64, data_utf8, data_repeat, fragments, .. } => {
                let data =
                    case::bytes(data_base64.as_deref(), data_utf8.as_deref(), data_repeat.as_ref());
                let data = data.ok_or("there is nothing to send")?;
                socket.send(*opcode, &data, fragments.unwrap_or(1));
                Ok(())
            }
            Step::WsSendRaw { data_base64, .. } => {
                socket.send_raw(case::unbase64(data_base64));
                Ok(())
            }
            Step::WsRecv { within_ms, expect, .. } => {
                let message = match socket.message(Duration::from_millis(*within_ms)).await {
                    Ok(message) => message,
                    Err(why) => return Err(missing("message", &why, socket).await),
                };
                if message.opcode != expect.opcode {
                    return Err(format!(
                        "a {:?} message: {}",
                        message.opcode,
                        text_of(&message.data)
                    ));
                }
                answer::content(&expect.content(), &message.data, bindings)
            }
            Step::WsRecvJoined { within_ms, expect, .. } => {
                joined(socket, *within_ms, expect, bindings).await
            }
            Step::WsSilence { for_ms, .. } => {
                match socket.message(Duration::from_millis(*for_ms)).await {
                    Err(Missing::Late) => Ok(()),
                    Err(why) => Err(missing("silence", &why, socket).await),
                    Ok(message) => Err(format!("a message: {}", text_of(&message.data))),
                }
            }
            Step::WsClosed { within_ms, expect, .. } => closed(socket, *within_ms, expect).await,
            Step::WsClose { code, reason, .. } => {
                socket.close(*code, reason);
                Ok(())
            }
            Step::WsPing { data_utf8, expect, .. } => {
                match socket.ping(data_utf8.as_bytes(), ANSWER).await {
                    Ok(pong) if pong == expect.pong.as_bytes() => Ok(()),
                    Ok(pong) => Err(format!("a pong with {}", text_of(&pong))),
                    Err(why) => Err(missing("pong", &why, socket).await),
                }
            }
            Step::WsExpectPing { within_ms, nth, expect, .. } => {
                let within = Duration::from_millis(*within_ms);
                match socket.pinged(*nth, within).await {
                    Ok((payload, after)) if payload == expect.ping_utf8.as_bytes() => {
                        punctual(after, expect.seconds_after_open)
                    }
                    Ok((payload, _)) => Err(format!("a ping with {}", text_of(&payload))),
                    Err(why) => Err(missing("ping", &why, socket).await),
                }
            }
            _ => panic!("not on a socket: {step:?}"),
        }
    }
}

/// Text frames put together are one longer text, and binary ones one longer `ResponseBatch`.
async fn joined(
    socket: &mut Socket,
    within_ms: u64,
    expected: &Frame,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let mut data = Vec::new();
    let mut difference = String::new();
    loop {
        match socket.message(Duration::from_millis(within_ms)).await {
            Ok(message) if message.opcode == expected.opcode => data.extend(message.data),
            Ok(message) => return Err(format!("a {:?} message", message.opcode)),
            Err(why) => {
                return Err(format!("{}; {difference}", missing("message", &why, socket).await));
            }
        }
        let mut attempt = bindings.clone();
        match answer::content(&expected.content(), &data, &mut attempt) {
            Ok(()) => {
                *bindings = attempt;
                return Ok(());
            }
            Err(error) => difference = error,
        }
    }
}

async fn closed(socket: &mut Socket, within_ms: u64, expected: &Closed) -> Result<(), String> {
    let actual = match socket.closed(Duration::from_millis(within_ms)).await {
        Ok(end) if end == *expected => return Ok(()),
        Ok(end) => format!("{} {:?}", end.code, end.reason),
        Err(_) => "still open".into(),
    };
    // What came instead often tells why.
    let instead = socket.message(Duration::ZERO).await;
    let instead = instead
        .map_or(String::new(), |message| format!(", after a message: {}", text_of(&message.data)));
    Err(format!("{actual}, not {} {:?}{instead}", expected.code, expected.reason))
}

async fn missing(what: &str, why: &Missing, socket: &mut Socket) -> String {
    match why {
        Missing::Late => format!("no {what}"),
        Missing::Closed => {
            let end = socket.closed(Duration::ZERO).await;
            format!("no {what}, but closed: {end:?}")
        }
    }
}

/// The answer to a request in the background, and when it came.
async fn answered(mut started: Started) -> Result<(Response, Instant), String> {
    let end = started.at + started.timeout;
    match timeout_at(end.into(), &mut started.task).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| format!("no answer: {error}")),
        Ok(Err(error)) => Err(format!("no answer: {error}")),
        Err(_) => Err(format!("no answer within {:?}", started.timeout)),
    }
}

/// Fails if there is an answer within that time after sending.
async fn silent(mut started: Started, ms: u64) -> Result<(), String> {
    let end = started.at + Duration::from_millis(ms);
    match timeout_at(end.into(), &mut started.task).await {
        Err(_) => Ok(()),
        Ok(Ok(Ok((response, _)))) => {
            Err(format!("an answer: {} {}", response.status, text_of(&response.body)))
        }
        Ok(other) => Err(format!("the connection has ended: {other:?}")),
    }
}

fn punctual(actual: Duration, expected: u32) -> Result<(), String> {
    let late = actual.as_secs_f64() - f64::from(expected);
    if (-0.5..=LATE).contains(&late) {
        Ok(())
    } else {
        Err(format!("after {actual:?}, not {expected} s"))
    }
}

/// Text or hex, whichever can be read.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => shown(text),
        Err(_) => shown(&hex(bytes)),
    }
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Http { request, .. } | Step::HttpStart { request, .. } => {
            let target: String = request.target.chars().take(40).collect();
            format!("{} {target}", request.method)
        }
        Step::HttpWait { name, .. } => format!("wait for {name}"),
        Step::WsOpen { conn, .. } => format!("open {conn}"),
        Step::WsSend { conn, opcode, .. } => match opcode {
            Opcode::Text => format!("send text on {conn}"),
            Opcode::Binary => format!("send binary on {conn}"),
        },
        Step::WsSendRaw { conn, .. } => format!("send bytes on {conn}"),
        Step::WsRecv { conn, .. } | Step::WsRecvJoined { conn, .. } => format!("receive on {conn}"),
        Step::WsSilence { conn, .. } => format!("silence on {conn}"),
        Step::WsClosed { conn, .. } => format!("end of {conn}"),
        Step::WsClose { conn, .. } => format!("close {conn}"),
        Step::WsPing { conn, .. } => format!("ping on {conn}"),
        Step::WsExpectPing { conn, nth, .. } => format!("ping {nth} on {conn}"),
        Step::Sleep { .. } => "sleep".into(),
    }
}
