//! `push-sidecar publish`: a message, as a portal publishes it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use prost::Message;
use push_protocol::hex;
use push_protocol::proto::{
    IncomingMessage, IncomingMessagesRequest, Receiver, Request, RequestBatch, request,
};
use url::Url;

use super::client::dial::{self, Dialler, Failure};
use super::client::http::{Answer, Ask};
use super::client::nonsense::{self, Asked};
use super::{keys, runtime, sites};

/// Options of `publish`.
#[derive(Args, Debug)]
pub struct Publish {
    /// Receivers: private ids, pairs PRIVATE:PUBLIC (signed with the key unless they are signed), or
    /// public:ID for a public id alone.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The message. Without it and without --file it is read from the standard input.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    text: Option<String>,
    /// A file with the message; `-`: the standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Seconds the message is kept for who is away; 0: only who listens now gets it.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    expiry: u32,
    /// Where to publish; without it the address that nginx.conf gives, or
    /// <http://127.0.0.1:8895/bitrix/pub/>.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long the answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u32,
    /// One object of JSON instead of a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: keys::Options,
}

/// Publishes and prints the answer. Status 0: taken; 1: refused; 2: nobody could be asked.
pub fn run(options: &Publish) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let body = options.body()?;
    let url = if let Some(url) = &options.url {
        dial::address(url)?
    } else {
        let known = options.key.nginx_conf().and_then(|(_, conf)| sites::internal(&conf));
        known.map_or_else(|| dial::address(sites::INTERNAL), Ok)?
    };
    let patience = Duration::from_secs(options.timeout.into());
    let receivers = Receivers::read(&options.channels, &options.key)?;
    let dialler = Dialler { patience, ..Dialler::default() };
    let asking = receivers.publish(&dialler, &url, body, options.expiry, patience);
    let (status, told, remedy) = match runtime()?.block_on(asking) {
        Ok(answer) if answer.status == 200 => {
            let ms = answer.took.as_millis();
            (0, format!("taken by {url} in {ms} ms"), None)
        }
        Ok(answer) => (
            1,
            format!("{url} {}", nonsense::shown(&answer)),
            Some(nonsense::remedy(Asked::Publish, url.path(), &answer)),
        ),
        Err(failure) => (2, format!("{url}: {failure}"), Some(failure.remedy())),
    };
    if options.json {
        let object = serde_json::json!({ "ok": status == 0, "answer": told, "remedy": remedy });
        writeln!(std::io::stdout(), "{object}")?;
    } else if status == 0 {
        writeln!(std::io::stdout(), "{told}")?;
    } else {
        eprintln!(
            "push-sidecar: {told}\n  -> {}",
            remedy.unwrap_or_default().replace('\n', "\n  -> ")
        );
    }
    Ok(ExitCode::from(status))
}

impl Publish {
    fn body(&self) -> Result<String, Box<dyn std::error::Error>> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        let mut bytes = Vec::new();
        match self.file.as_ref().filter(|file| file.as_os_str() != "-") {
            Some(file) => {
                bytes =
                    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            None => drop(std::io::stdin().read_to_end(&mut bytes)?),
        }
        // An editor's or echo's line break is not meant.
        let text = String::from_utf8(bytes).map_err(|_| "the message is not UTF-8")?;
        Ok(text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
    }
}

/// To whom a message goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receivers {
    /// For `CHANNEL_ID`.
    list: Vec<String>,
    /// Public ids, which only a binary request can name.
    public: Vec<String>,
}

impl Receivers {
    /// Reads them, and signs pairs that are not. The error is a text for a person.
    pub fn read(channels: &[String], key: &keys::Options) -> Result<Self, String> {
        let (mut list, mut public) = (Vec::new(), Vec::new());
        for channel in channels {
            if let Some(id) = channel.strip_prefix("public:") {
                hex::decode_id(id.as_bytes())
                    .ok_or_else(|| format!("\"{id}\" is no public id: 32 lower-case hex digits"))?;
                public.push(id.to_owned());
                continue;
            }
            for entry in channel.split('/') {
                list.push(match keys::shape(entry)? {
                    (text, false) if text.contains(':') => keys::signed(text, &key.signer()?)?,
                    // A private id needs no signature here, nor a key.
                    _ => entry.to_owned(),
                });
            }
        }
        Ok(Self { list, public })
    }

    /// To these alone, which are private ids, or signed.
    pub fn listed(list: Vec<String>) -> Self {
        Self { list, public: Vec::new() }
    }

    /// Publishes there.
    pub async fn publish(
        &self,
        dialler: &Dialler,
        url: &Url,
        body: String,
        expiry: u32,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let mut ask = Ask::get(url, "", patience);
        ask.method = Method::POST;
        if self.public.is_empty() {
            ask.target = format!("{}?CHANNEL_ID={}", url.path(), self.list.join("/"));
            ask.headers
                .push((HeaderName::from_static("message-expiry"), HeaderValue::from(expiry)));
            ask.body = body.into_bytes();
        } else {
            ask.target = format!("{}?binaryMode=true", url.path());
            ask.body = self.batch(body, expiry).encode_to_vec();
        }
        ask.ask(dialler).await
    }

    /// The binary request (PROTOCOL.md, section 5.2).
    fn batch(&self, body: String, expiry: u32) -> RequestBatch {
        let receiver = |id: &str, is_private| Receiver {
            id: hex::decode_id(id.as_bytes()).map(Vec::from).unwrap_or_default(),
            is_private,
            signature: Vec::new(),
        };
        let mut receivers = Vec::new();
        for entry in &self.list {
            let text = entry.split('.').next().unwrap_or_default();
            let (private, public) =
                text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
            receivers.push(receiver(private, true));
            receivers.extend(public.map(|id| receiver(id, false)));
        }
        receivers.extend(self.public.iter().map(|id| receiver(id, false)));
        let message = IncomingMessage { receivers, body, expiry, ..IncomingMessage::default() };
        let messages = IncomingMessagesRequest { messages: vec![message] };
        let command = Some(request::Command::IncomingMessages(messages));
        RequestBatch { requests: vec![Request { command }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "80e28956d1be17f866cb56c227a58736";

    #[test]
    fn public_ids_go_into_a_batch() {
        let key = keys::Options::default();
        let read = |channels: &[&str]| {
            let channels: Vec<String> = channels.iter().map(|&channel| channel.into()).collect();
            Receivers::read(&channels, &key)
        };
        let receivers = read(&[ID, &format!("public:{ID}")]).expect("right");
        let batch = receivers.batch("b".into(), 7);
        let Some(request::Command::IncomingMessages(messages)) = &batch.requests[0].command else {
            panic!("{batch:?}");
        };
        let message = &messages.messages[0];
        assert_eq!((&message.body[..], message.expiry), ("b", 7));
        let flags: Vec<bool> = message.receivers.iter().map(|to| to.is_private).collect();
        assert_eq!(flags, [true, false]);
        assert!(message.receivers.iter().all(|to| hex::encode(&to.id) == ID));
        for bad in ["public:x", "x", "", &ID[1..]] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }
}
