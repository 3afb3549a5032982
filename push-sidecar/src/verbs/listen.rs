//! `push-sidecar listen`: what a subscriber gets, a line a message.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::client::dial::{self, Dialler};
use super::client::http::Ask;
use super::client::messages::{self, Received};
use super::client::nonsense::{self, Asked};
use super::client::websocket::{Event, Refused, WebSocket};
use super::{keys, runtime, sites};

/// Options of `listen`.
#[derive(Args, Debug)]
pub struct Listen {
    /// Private ids, or pairs PRIVATE:PUBLIC; signed with the key unless they are signed.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The public address, such as <https://portal.example/>; without it the first that nginx.conf
    /// gives. Without a path /bitrix/subws/ and /bitrix/sub/ are meant.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connect there whatever the name says, as if the DNS said so.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// By long polls instead of a WebSocket.
    #[arg(long)]
    poll: bool,
    /// In binary mode, in which the sender is told, too.
    #[arg(long)]
    binary: bool,
    /// First what is stored and newer than this message id, 26 digits.
    #[arg(long, value_name = "MID")]
    mid: Option<String>,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after so many seconds; with --count and fewer messages with status 1.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// An object of JSON for each message.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: keys::Options,
}

/// How it ended.
enum End {
    Enough,
    Late,
    /// What happened, and the remedy.
    Failed(String, String),
}

/// Listens and prints. Status 0: as many as asked for, or the time is over; 1: the time is over with
/// fewer messages; 2: no connection, or the server closed it.
pub fn run(options: &Listen) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if options
        .mid
        .as_ref()
        .is_some_and(|mid| push_protocol::Mid::from_digits(mid.as_bytes()).is_none())
    {
        return Err("--mid wants exactly 26 decimal digits".into());
    }
    let signer = if options
        .channels
        .iter()
        .flat_map(|list| list.split('/'))
        .all(|entry| entry.contains('.'))
    {
        push_protocol::signature::Verifier::default()
    } else {
        options.key.signer()?
    };
    let list: Result<Vec<String>, String> =
        options.channels.iter().map(|channel| keys::signed(channel, &signer)).collect();
    let (url, connect) = options.address()?;
    let dialler = Dialler { connect, ..Dialler::default() };
    let mut listener = Listener {
        options,
        dialler,
        url,
        list: list?.join("/"),
        mid: options.mid.clone(),
        left: options.count,
    };
    let end = runtime()?.block_on(async {
        if listener.left == Some(0) {
            return Ok(End::Enough);
        }
        let late = options.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let listening = listener.listen();
        match late {
            Some(late) => timeout_at(late, listening).await.unwrap_or(Ok(End::Late)),
            None => listening.await,
        }
    })?;
    Ok(match end {
        End::Enough => ExitCode::SUCCESS,
        End::Late => ExitCode::from(u8::from(options.count.is_some())),
        End::Failed(told, remedy) => {
            eprintln!("push-sidecar: {told}\n  -> {}", remedy.replace('\n', "\n  -> "));
            ExitCode::from(2)
        }
    })
}

impl Listen {
    fn address(&self) -> Result<(Url, Option<SocketAddr>), Box<dyn std::error::Error>> {
        let (mut url, connect, path) = if let Some(url) = &self.url {
            let path = if self.poll { "/bitrix/sub/" } else { "/bitrix/subws/" };
            (dial::address(url)?, None, path.to_owned())
        } else {
            let conf = self.key.nginx_conf();
            let site = conf.and_then(|(_, conf)| sites::public(&conf).into_iter().next());
            let site = site.ok_or("nginx.conf has no location with \"bx_push sub\"; give --url https://portal.example/")?;
            let path = if self.poll { site.poll } else { site.websocket };
            (site.url, site.connect, path)
        };
        if url.path() == "/" {
            url.set_path(&path);
        }
        Ok((url, self.connect.or(connect)))
    }
}

struct Listener<'a> {
    options: &'a Listen,
    dialler: Dialler,
    url: Url,
    list: String,
    mid: Option<String>,
    left: Option<u64>,
}

impl Listener<'_> {
    async fn listen(&mut self) -> std::io::Result<End> {
        if self.options.poll { self.polls().await } else { self.websocket().await }
    }

    fn target(&self) -> String {
        let mut target = format!("{}?CHANNEL_ID={}", self.url.path(), self.list);
        if let Some(mid) = &self.mid {
            target.extend(["&mid=", mid]);
        }
        if self.options.binary {
            target += "&binaryMode=true";
        }
        target
    }

    async fn websocket(&mut self) -> std::io::Result<End> {
        let patience = self.dialler.patience;
        let opening = WebSocket::open(&self.dialler, &self.url, &self.target(), patience).await;
        let mut socket = match opening {
            Ok(socket) => socket,
            Err(Refused::Failure(failure)) => {
                return Ok(self.failed(&failure.to_string(), failure.remedy()));
            }
            Err(Refused::Answer(answer)) => return Ok(self.answered(Asked::WebSocket, &answer)),
        };
        loop {
            match socket.next().await {
                Event::Messages(messages) => {
                    if self.print(messages)? {
                        socket.close().await;
                        return Ok(End::Enough);
                    }
                }
                Event::Ping => {}
                Event::Odd(what) => {
                    return Ok(self.failed(
                        &format!("sends what is no message of a push server: {what}"),
                        "is this the address of the push server?".into(),
                    ));
                }
                Event::Closed { code, reason } => {
                    let told = nonsense::closed(code, &reason);
                    return Ok(self.failed(&told, nonsense::close_remedy(code).into()));
                }
            }
        }
    }

    async fn polls(&mut self) -> std::io::Result<End> {
        // A poll is answered after bx_push_poll_timeout (40 s), which may be set higher.
        let patience = Duration::from_secs(3600);
        loop {
            let answer = match Ask::get(&self.url, self.target(), patience).ask(&self.dialler).await
            {
                Ok(answer) => answer,
                Err(failure) => return Ok(self.failed(&failure.to_string(), failure.remedy())),
            };
            let last = answer.header("last-message-id");
            match answer.status {
                304 if !last.is_empty() => self.mid = Some(last.to_owned()),
                304 => {}
                200 => {
                    let received = if self.options.binary {
                        messages::binary(&answer.body)
                    } else {
                        messages::text(&String::from_utf8_lossy(&answer.body))
                    };
                    let Some(received) = received else {
                        return Ok(self.answered(Asked::Poll, &answer));
                    };
                    self.mid = received.last().map(|message| message.mid.clone());
                    if self.print(received)? {
                        return Ok(End::Enough);
                    }
                }
                _ => return Ok(self.answered(Asked::Poll, &answer)),
            }
        }
    }

    fn failed(&self, told: &str, remedy: String) -> End {
        let mut url = self.url.clone();
        url.set_query(None);
        End::Failed(format!("{url}: {told}"), remedy)
    }

    fn answered(&self, asked: Asked, answer: &super::client::http::Answer) -> End {
        self.failed(&nonsense::shown(answer), nonsense::remedy(asked, self.url.path(), answer))
    }

    /// Prints; whether it is enough.
    fn print(&mut self, messages: Vec<Received>) -> std::io::Result<bool> {
        let mut out = std::io::stdout().lock();
        for message in messages {
            if self.options.json {
                serde_json::to_writer(&mut out, &message)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{} {}", message.mid, one_line(&message.body))?;
            }
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    out.flush()?;
                    return Ok(true);
                }
            }
        }
        out.flush()?;
        Ok(false)
    }
}

/// What would end the line, or change the terminal, as JSON would write it.
fn one_line(body: &str) -> String {
    use std::fmt::Write;
    let mut line = String::with_capacity(body.len());
    for c in body.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            // A string takes everything.
            c if c.is_control() && c != '\t' => drop(write!(line, "\\u{:04x}", c as u32)),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_one_line() {
        assert_eq!(super::one_line("a\r\nb\t\u{1b}[1mä"), "a\\r\\nb\t\\u001b[1mä");
    }
}
