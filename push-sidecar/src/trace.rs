//! Where a message went: what is asked and answered, and how it is told. Pure.

use std::fmt::Write;

use chrono::DateTime;
use push_protocol::{ChannelKey, Mid, hex};
use serde::{Deserialize, Serialize};

/// Channels asked about at once.
const MAX_CHANNELS: usize = 16;

/// What `push-sidecar trace` asks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Query {
    /// Private ids, `private:public`, or `public:` and an id; a signature behind them is not looked at.
    pub channels: Vec<String>,
    /// One message alone.
    pub mid: Option<String>,
}

impl Query {
    /// The message.
    pub fn mid(&self) -> Option<Mid> {
        self.mid.as_ref().and_then(|mid| Mid::from_digits(mid.as_bytes()))
    }

    /// The channels; the error is a text for a person.
    pub fn channels(&self) -> Result<Vec<ChannelKey>, String> {
        if let Some(mid) = self.mid.as_ref().filter(|_| self.mid().is_none()) {
            return Err(format!("\"{mid}\" is no message id: 26 decimal digits"));
        }
        let mut keys = Vec::new();
        for channel in &self.channels {
            let text = channel.split('.').next().unwrap_or_default();
            let id = |text: &str| {
                hex::decode_id(text.as_bytes())
                    .ok_or_else(|| format!("\"{text}\" is no channel: 32 lower-case hex digits"))
            };
            match text.split_once(':') {
                Some(("public", public)) => keys.push(ChannelKey::public(id(public)?)),
                Some((private, public)) => {
                    keys.push(ChannelKey::private(id(private)?));
                    keys.push(ChannelKey::public(id(public)?));
                }
                None => keys.push(ChannelKey::private(id(text)?)),
            }
        }
        match keys.len() {
            0 if self.mid.is_none() => Err("neither a channel nor a message was named".into()),
            0..=MAX_CHANNELS => Ok(keys),
            _ => Err(format!("more than {MAX_CHANNELS} channels")),
        }
    }
}

/// A channel as it is told: `private:` or `public:` and its id.
pub fn shown(key: &ChannelKey) -> String {
    let kind = if key.is_private() { "private" } else { "public" };
    format!("{kind}:{}", hex::encode(&key.id))
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// The channels, and who has them.
    pub channels: Vec<Channel>,
    /// What is stored for them, the newest; or the one message.
    pub messages: Vec<Message>,
    /// Processes that hear announcements through the store, beside this host's, as `host-pid`.
    pub others: Vec<String>,
    /// The workers of this host.
    pub workers: Vec<Worker>,
    /// Process ids of workers that did not answer, or are too old to.
    pub silent: Vec<u32>,
    /// Why the store could not be asked.
    pub store: Option<String>,
}

/// One channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// See [`shown`].
    pub channel: String,
    /// Whether it counts as online, if that is known.
    pub online: Option<bool>,
    /// Process ids of the workers of this host that have subscribed it.
    pub workers: Vec<u32>,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub mid: String,
    /// Whether the store remembers it.
    pub known: bool,
    /// When it was published, Unix seconds.
    pub created: Option<u32>,
    /// Seconds it was to be kept; 0: for who listens then.
    pub expiry: Option<u32>,
    /// Seconds it will still be kept; without: it is in no queue.
    pub left: Option<u64>,
    /// Bytes of its body.
    pub bytes: Option<usize>,
    /// `backend`, or the public id of a client.
    pub sender: Option<String>,
    /// Its receivers, as far as they are remembered.
    pub receivers: Vec<String>,
    /// When it was passed on to workers of this host, Unix milliseconds.
    pub passed: Option<u64>,
    /// To which, process ids.
    pub workers: Vec<u32>,
    /// Too long ago to know whether it was passed on.
    pub forgotten: bool,
}

/// One worker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Worker {
    /// Its process id.
    pub pid: u32,
    /// WebSockets in text mode that have the channels.
    pub text: u32,
    /// WebSockets in binary mode.
    pub binary: u32,
    /// Long polls.
    pub polls: u32,
    /// Bytes that wait for them.
    pub waiting: u64,
    /// What came for the channels while they are traced.
    pub deliveries: Vec<Delivery>,
}

/// A message in a worker; see `push_link::Traced`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delivery {
    /// The message.
    pub mid: String,
    /// When it came to the worker, Unix milliseconds.
    pub at: u64,
    /// Milliseconds from then to the last write; without: it was written to nobody.
    pub took: Option<u64>,
    /// WebSockets in text mode that it was written to, or queued for.
    pub text: u32,
    /// WebSockets in binary mode.
    pub binary: u32,
    /// Long polls.
    pub polls: u32,
    /// Connections whose history has to come first; they are counted again when it has come.
    pub held: u32,
    /// Connections that had it already.
    pub had: u32,
    /// Connections that were cut off: too much waited for them.
    pub cut: u32,
    /// Connections that were closing.
    pub closing: u32,
}

impl Delivery {
    /// What became of it, in words.
    pub fn told(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.text, "WebSockets (text)"),
            (self.binary, "WebSockets (binary)"),
            (self.polls, "long polls"),
        ] {
            if count > 0 {
                parts.push(format!("written to {count} {what}"));
            }
        }
        for (count, what) in [
            (self.held, "wait for their history first"),
            (self.had, "had it already"),
            (self.cut, "cut off instead, as too much waited for them (bx_push_max_queue)"),
            (self.closing, "were closing"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if parts.is_empty() {
            parts.push("nobody here has the channel any more".into());
        }
        let took = self.took.map(|ms| format!(" within {ms} ms")).unwrap_or_default();
        format!("{} came at {}: {}{took}", self.mid, time(self.at), parts.join(", "))
    }
}

/// A time of day with milliseconds, UTC.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(String::new, |time| time.format("%H:%M:%S%.3f").to_string())
}

fn list(pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    pids.join(", ")
}

impl Trace {
    /// For a person. `mid`: one message was asked about.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // A string takes everything.
        for message in &self.messages {
            let _ = writeln!(out, "{}", message.told());
        }
        if self.messages.is_empty() && self.store.is_none() {
            let _ = writeln!(out, "no message is stored for these channels");
        }
        if let Some(error) = &self.store {
            let _ = writeln!(out, "the store cannot be asked: {error}; see push-sidecar health");
        }
        if !self.others.is_empty() {
            let _ = writeln!(out, "announced through the store also to {}", self.others.join(", "));
        }
        for Channel { channel, online, workers } in &self.channels {
            let online = match online {
                Some(true) => "online",
                Some(false) => "not online",
                None => "online or not is not known",
            };
            let workers = match &workers[..] {
                [] => "no worker of this host has it".into(),
                pids => format!("workers {} have it", list(pids)),
            };
            let _ = writeln!(out, "{channel}: {online}, {workers}");
        }
        for worker in &self.workers {
            let Worker { pid, text, binary, polls, waiting, deliveries } = worker;
            let _ = writeln!(
                out,
                "worker {pid}: {text} WebSockets (text), {binary} WebSockets (binary), {polls} long polls; {waiting} bytes wait for them"
            );
            for delivery in deliveries {
                let _ = writeln!(out, "  {}", delivery.told());
            }
        }
        if !self.silent.is_empty() {
            let _ = writeln!(
                out,
                "workers {} did not answer; of an older release?",
                list(&self.silent)
            );
        }
        out
    }
}

impl Message {
    fn told(&self) -> String {
        let mut out = format!("message {}", self.mid);
        if !self.known {
            out += ": the store does not remember it: never stored, expired, or live only and more than a minute ago";
        }
        if let Some(created) = self.created {
            let date = DateTime::from_timestamp(created.into(), 0).unwrap_or_default();
            let _ = write!(out, "\n  published {}", date.format("%Y-%m-%d %H:%M:%S UTC"));
        }
        if let Some(sender) = &self.sender {
            let _ = write!(out, " by {sender}");
        }
        if let Some(bytes) = self.bytes {
            let _ = write!(out, ", {bytes} bytes");
        }
        match (self.expiry, self.left) {
            (_, Some(left)) => {
                let _ = write!(out, "\n  stored, {left} s left of {}", self.expiry.unwrap_or(0));
            }
            (Some(0), None) => out += "\n  not stored: for who listened then (expiry 0)",
            (_, None) if self.known => out += "\n  not stored any more: expired",
            _ => {}
        }
        if !self.receivers.is_empty() {
            let _ = write!(out, "\n  for {}", self.receivers.join(", "));
        }
        match (self.passed, self.forgotten) {
            (Some(at), _) => {
                let _ =
                    write!(out, "\n  passed on at {} to workers {}", time(at), list(&self.workers));
            }
            (None, true) => out += "\n  passed on too long ago to know to whom",
            (None, false) => {
                out += "\n  passed on to no worker of this host: none had a receiver then";
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "80e28956d1be17f866cb56c227a58736";
    const MID: &str = "17954063320000000000003072";

    #[test]
    fn channels_are_named_as_everywhere() {
        let keys = |channels: &[&str], mid: Option<&str>| {
            let channels = channels.iter().map(|&channel| channel.to_owned()).collect();
            Query { channels, mid: mid.map(str::to_owned) }.channels()
        };
        let told = |keys: Vec<ChannelKey>| keys.iter().map(shown).collect::<Vec<_>>().join(" ");
        let pair = format!("{ID}:{ID}.0123");
        let public = format!("public:{ID}");
        assert_eq!(keys(&[ID], None).map(told), Ok(format!("private:{ID}")));
        assert_eq!(keys(&[&pair], None).map(told), Ok(format!("private:{ID} public:{ID}")));
        assert_eq!(keys(&[&public], None).map(told), Ok(public.clone()));
        assert_eq!(keys(&[], Some(MID)), Ok(vec![]));
        for (channels, mid) in [(&[][..], None), (&["x"][..], None), (&[ID][..], Some("1"))] {
            assert!(keys(channels, mid).is_err(), "{channels:?} {mid:?}");
        }
        assert!(keys(&[ID; MAX_CHANNELS + 1], None).is_err());
    }

    #[test]
    fn what_became_of_a_message_is_told_in_words() {
        let delivery = Delivery {
            mid: MID.into(),
            at: 1_795_408_161_493,
            took: Some(3),
            text: 2,
            had: 1,
            ..Delivery::default()
        };
        assert_eq!(
            delivery.told(),
            format!(
                "{MID} came at 04:29:21.493: written to 2 WebSockets (text), 1 had it already within 3 ms"
            )
        );
        let message = Message {
            mid: MID.into(),
            known: true,
            created: Some(1_795_408_161),
            expiry: Some(600),
            left: Some(400),
            bytes: Some(7),
            sender: Some("backend".into()),
            passed: Some(1_795_408_161_493),
            workers: vec![7, 8],
            ..Message::default()
        };
        let text = message.told();
        for part in [
            "published 2026-11-23 04:29:21 UTC by backend, 7 bytes",
            "400 s left of 600",
            "at 04:29:21.493 to workers 7, 8",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = Message { mid: MID.into(), ..Message::default() }.told();
        assert!(
            text.contains("does not remember") && text.contains("no worker of this host"),
            "{text}"
        );
    }
}
